"""Prompts -> completions: from an OpenAI-compatible endpoint, or from a local directory of transformers."""
