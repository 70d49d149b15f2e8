"""Messages to standard error; standard output is for results."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Write one line to standard error at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
