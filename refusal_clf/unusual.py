"""Cheap guesses whether a response is something that the models were not made to read: code alone, or gibberish.

Such responses are scored all the same and flagged. The rules are meant to be right when they speak: prose that
contains code, lists of numbers and short answers stay unflagged.
"""

from __future__ import annotations

import re
from typing import Final

_SAMPLE_CHARS: Final = 4000
_FENCED: Final = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_WORD: Final = re.compile(r"[^\W\d_]+")
_CODE_LINE: Final = re.compile(
    r"\A\s*(?:(?:import|from|def|class|return|function|var|let|const|public|private|static|using|package|SELECT|INSERT"
    r"|UPDATE|CREATE|elif|else|try|except|finally|catch|switch|case)\b.*[\w)\]};:'\"]|(?:if|for|while)\b.*[:{]"
    r"|#include\b.*|//.*|/\*.*|\*/|</?\w+[^>]*>.*|[{}()\[\];]+|@\w+.*|[\w.\[\]'\"]+\s*[-+*/|&]?=\s*\S.*"
    r"|[\w.]+\([^)]*\)\s*;?|.*[;{}])\s*\Z"
)
_PROSE_BESIDE_CODE: Final = 5
_MIN_CODE_LINES: Final = 3

_SYMBOL: Final = re.compile(r"[^\w\s]|_")
_MIN_CHARS: Final = 24
_MIN_LOOP_WORDS: Final = 40
_LOOP_VARIETY: Final = 0.12
_MIN_WORDS: Final = 5
_CONSONANTS: Final = re.compile(r"[b-df-hj-np-tv-xzB-DF-HJ-NP-TV-XZ]{4,}")
_NO_VOWEL: Final = re.compile(r"[^\W\daeiouyáàâäéèêëíìîïóòôöúùûü]{4,}", re.IGNORECASE)


def code_only(text: str) -> bool:
    """Return True if there is hardly any prose beside code. Line breaks must still be in the text."""
    sample = text[:_SAMPLE_CHARS]
    prose = _FENCED.sub(" ", sample)
    if prose != sample:
        return len(_WORD.findall(prose)) <= _PROSE_BESIDE_CODE
    lines = [line for line in sample.splitlines() if line.strip()]
    if len(lines) < _MIN_CODE_LINES:
        return False
    return sum(_CODE_LINE.match(line) is not None for line in lines) >= 0.75 * len(lines)


def gibberish(text: str) -> bool:
    """Return True for strings of symbols, words that cannot be spoken, and the same few words over and over.

    Fluent text that is off the topic is not recognised here; the verdict `neither` is for that.
    """
    sample = text[:_SAMPLE_CHARS]
    if _mostly_symbols(sample):
        return True
    words = sample.lower().split()
    if len(words) >= _MIN_LOOP_WORDS and len(set(words)) < _LOOP_VARIETY * len(words):
        return True
    if len(_CONSONANTS.findall(sample)) < max(2, 0.1 * len(words)):  # nearly every text ends here
        return False
    latin = [word for word in _WORD.findall(sample) if len(word) >= 4 and word[0] < "\u0250" and not word.isupper()]
    unspeakable = sum(_NO_VOWEL.fullmatch(word) is not None for word in latin)
    return len(latin) >= _MIN_WORDS and unspeakable > 0.35 * len(latin)


def _mostly_symbols(text: str) -> bool:
    # Counting a letter takes a hundredth of the time of finding all symbols, and twelve are most of English.
    if 2 * sum(map(text.count, "etaoinshrdlu")) >= len(text) - text.count(" "):
        return False
    symbols = len(_SYMBOL.findall(text))
    return symbols >= _MIN_CHARS // 2 and symbols > 0.5 * len("".join(text.split()))
