"""Verdicts over HTTP: requests of all connections are judged together, in one thread."""
