"""Rates as bars of characters, for terminals that have them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TextIO

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_SPARKS: Final = "▁▂▃▄▅▆▇█"


def bar(rate: float | None, width: int = 10) -> str:
    """Return a rate in [0, 1] as a bar of `width` characters, to an eighth of one; blanks for None."""
    eighths = 0 if rate is None else round(rate * width * 8)
    full, part = divmod(eighths, 8)
    return (_EIGHTHS[-1] * full + (_EIGHTHS[part] if part else "")).ljust(width)


def sparkline(rates: Iterable[float | None]) -> str:
    """Return rates in [0, 1] as columns, a character each; a blank for None."""
    return "".join(" " if rate is None else _SPARKS[round(rate * (len(_SPARKS) - 1))] for rate in rates)


def draws_bars(file: TextIO) -> bool:
    """Say whether bars belong there: a terminal whose encoding has them. What reads a pipe wants the figures alone."""
    try:
        _EIGHTHS.encode(getattr(file, "encoding", None) or "utf-8")
    except (LookupError, UnicodeEncodeError):
        return False
    return file.isatty()
