"""Reports -> what a person reads: tables in a terminal, Markdown."""
