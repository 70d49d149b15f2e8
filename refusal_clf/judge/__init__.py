"""Ask an LLM judge for labels: prompts, client, store, budget. Only this package talks to a judge."""
