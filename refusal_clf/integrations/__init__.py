"""Where other tools meet the classifier: pytest, the transformers Trainer, TRL. Each imports its tool itself."""
