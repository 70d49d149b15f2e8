"""Text that knows where it comes from: each character's place in the original, kept through cleaning.

`text.prepare` works on plain text and on `Traced` alike, so that what the classifier reads is mapped back to what the
model wrote by the very code that prepared it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final, SupportsIndex

# They join the syllable before them, though their combining class does not say so.
_HANGUL_VOWELS_AND_FINALS: Final = range(0x1160, 0x1200)


class Traced(str):
    """A text with, for each of its characters, a place in the original.

    Only what `text.prepare` does to a response is traced: slices, sums, `translate`, `strip`, `substitute` and `nfkc`.
    Places never decrease.

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
    plain, parts, origin, end = str(text), list[str](), list[int](), 0
    for match in pattern.finditer(plain):
        parts += [plain[end : match.start()], replacement]
        origin += text.origin[end : match.start()]
        place = text.origin[match.start()] if match.start() < len(plain) else text.origin[-1] if plain else 0
        origin += [place] * len(replacement)
        end = match.end()
    return Traced("".join([*parts, plain[end:]]), [*origin, *text.origin[end:]])


def nfkc(text: str) -> str:
    """Fold Unicode's compatibility forms (NFKC)."""
    if not isinstance(text, Traced):
        return unicodedata.normalize("NFKC", text)
    whole = unicodedata.normalize("NFKC", str(text))
    if whole == text:
        return text
    parts, origin = list[str](), list[int]()
    for start, end in _clusters(str(text)):
        folded = unicodedata.normalize("NFKC", str.__getitem__(text, slice(start, end)))
        parts.append(folded)
        origin += [text.origin[min(start + at, end - 1)] for at in range(len(folded))]
    if "".join(parts) != whole:  # a composition across what was taken for a border: rare scripts
        return Traced(whole, [text.origin[min(at, len(text) - 1)] for at in range(len(whole))])
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
