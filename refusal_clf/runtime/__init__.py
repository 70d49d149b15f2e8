"""The tiers: a lexical model in NumPy, the ONNX encoder, and batching. Knows no suites."""
