"""What a benchmark ran on: the package's own description, under the name that the scripts here import."""

from refusal_clf.machine import describe, line, peak_mib

__all__ = ["describe", "line", "peak_mib"]
