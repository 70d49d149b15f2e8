"""The classifier inside other people's tools: pytest, Trainer, TRL, Ray, Spark. Each module imports its tool itself."""
