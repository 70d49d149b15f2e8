"""Text that knows where it comes from: each character's place in the original, kept through cleaning.

`text.prepare` works on plain text and on `Traced` alike, so that what the classifier reads is mapped back to what the
model wrote by the very code that prepared it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Final, Literal, SupportsIndex

_SPACE: Final = re.compile(r"\s+")
_MOST_MARKS: Final = 30
# Too many marks in a row are at least so many characters beyond the Latin ones and the punctuation; looking for them
# first is a hundred times as fast, and only scripts without spaces have others.
_MAYBE_CROWDED: Final = re.compile(f"[\u0300-\u1fff\u20d0-\U0001efff]{{{_MOST_MARKS + 1}}}")
# They join the syllable before them, though their combining class does not say so.
_HANGUL_VOWELS_AND_FINALS: Final = range(0x1160, 0x1200)


class Traced(str):
    """A text with, for each of its characters, a place in the original.

    Only what `text.prepare` does to a response is traced: slices, sums, `translate`, `strip` and the functions of this
    module. Places never decrease.

    Attributes
    ----------
    origin
        Place of each character, a sequence as long as the text.
    """

    __slots__ = ("origin",)
    origin: Sequence[int]

    def __new__(cls, text: str, origin: Sequence[int] | None = None) -> Traced:
        """Return the text as its own original, or as what is left of another one."""
        traced = super().__new__(cls, text)
        traced.origin = range(len(text)) if origin is None else origin
        return traced

    def __getitem__(self, key: SupportsIndex | slice) -> Traced:
        at = key if isinstance(key, slice) else slice(key.__index__(), key.__index__() + 1 or None)
        return Traced(str.__getitem__(self, at), self.origin[at])

    def __add__(self, other: str) -> Traced:
        """Append; characters from nowhere stand where the text before them ended."""
        end = self.origin[-1] if self.origin else 0
        added = other.origin if isinstance(other, Traced) else [end] * len(other)
        return Traced(str.__add__(self, other), [*self.origin, *added])

    def translate(self, table: object) -> Traced:
        """Replace single characters by single characters."""
        return Traced(str.translate(self, table), self.origin)  # type: ignore[arg-type]

    def strip(self, chars: str | None = None) -> Traced:
        """Remove what is around the text."""
        text = str(self)
        start = len(text) - len(text.lstrip(chars))
        return self[start : max(start, len(text.rstrip(chars)))]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where the characters [start, end) stood in the original, as [start, end) too; start < end."""
        return self.origin[start], self.origin[end - 1] + 1


def substitute(pattern: re.Pattern[str], replacement: str, text: str) -> str:
    """Replace every match by a literal text (`re.sub`)."""
    if not isinstance(text, Traced):
        return pattern.sub(replacement, text)
    return replace_spans(text, (match.span() for match in pattern.finditer(str(text))), replacement)


def replace_spans(text: str, spans: Iterable[tuple[int, int]], replacement: str) -> str:
    """Replace each of the spans [start, end), in order and without overlap, by a literal text."""
    plain, parts, origin, at = str(text), list[str](), list[int](), 0
    traced = text.origin if isinstance(text, Traced) else range(len(plain))
    for start, end in spans:
        parts += [plain[at:start], replacement]
        origin += traced[at:start]
        origin += [traced[min(start, len(plain) - 1)] if plain else 0] * len(replacement)
        at = end
    whole = "".join([*parts, plain[at:]])
    return Traced(whole, [*origin, *traced[at:]]) if isinstance(text, Traced) else whole


def squeeze(text: str) -> str:
    """Fold white space to single blanks, without any around the text."""
    if not isinstance(text, Traced):
        return " ".join(text.split())  # the same as below, three times as fast
    return substitute(_SPACE, " ", text).strip()


def stretch(text: str, replacement: str) -> str:
    """Return what the whole of a text stands for, its characters spread evenly over the places of the text's."""
    if not isinstance(text, Traced):
        return replacement
    return Traced(replacement, [text.origin[at * len(text) // len(replacement)] for at in range(len(replacement))])


def fold(text: str, form: Literal["NFKC", "NFD"] = "NFKC") -> str:
    """Bring a text into one of Unicode's normal forms, with at most `_MOST_MARKS` combining marks in a row.

    The forms sort the marks of a letter in a time that grows with the square of their number. Thirty is the limit of
    Unicode's stream-safe format (UAX 15, section 13), and more than any language writes.
    """
    if text.isascii():
        return text
    return _thinned(_folded(_thinned(text), form))  # again, as some marks become two


def _thinned(text: str) -> str:
    if not _MAYBE_CROWDED.search(text):
        return text
    surplus = [(found.end(1), found.end()) for found in _crowded_marks().finditer(text)]
    return replace_spans(text, surplus, "") if surplus else text


@cache
def _crowded_marks() -> re.Pattern[str]:
    """Return a pattern of too many marks: characters whose decomposition begins with one that combines."""
    candidates = map(chr, range(0x300, 0x1F000))
    marks = "".join(mark for mark in candidates if unicodedata.combining(unicodedata.normalize("NFKD", mark)[0]))
    return re.compile(f"([{marks}]{{{_MOST_MARKS}}})[{marks}]+")


def _folded(text: str, form: Literal["NFKC", "NFD"]) -> str:
    whole = unicodedata.normalize(form, str(text))
    if not isinstance(text, Traced) or whole == text:
        return text if whole == text else whole
    parts, origin = list[str](), list[int]()
    for start, end in _clusters(str(text)):
        folded = unicodedata.normalize(form, str.__getitem__(text, slice(start, end)))
        parts.append(folded)
        origin += [text.origin[min(start + at, end - 1)] for at in range(len(folded))]
    if "".join(parts) != whole:  # a composition across what was taken for a border: rare scripts
        return stretch(text, whole)
    return Traced(whole, origin)


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each letter with the marks that combine with it, which no normalisation joins to others."""
    start = 0
    for at, character in enumerate(text):
        joins = unicodedata.combining(character) or ord(character) in _HANGUL_VOWELS_AND_FINALS
        if at > start and not joins:
            yield start, at
            start = at
    if start < len(text):
        yield start, len(text)
