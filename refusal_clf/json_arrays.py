"""JSON arrays -> their items, one at a time: an array of gigabytes needs the memory of its largest item."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from refusal_clf.records import InputError
from refusal_clf.streams import MAX_LINE_BYTES

_SPACE: Final = re.compile(r"\s*")
_RAW_CHARS: Final = 200


def array_items(chunks: Iterable[bytes], name: str, limit: int = MAX_LINE_BYTES) -> Iterator[tuple[int, Any, str]]:
    """Yield the items of an array with the lines that they begin on, from 1, and their first 200 characters.

    Parameters
    ----------
    chunks
        A file's bytes, from the opening bracket on but for white space.
    name
        What the file is called in errors.
    limit
        The longest item, in characters.

    Raises
    ------
    InputError
        Where the file is no JSON, or not UTF-8, or an item is too long.
    """
    window = _Window(chunks, name, limit)
    separator = "["
    while window.peek() == separator:
        window.skip()
        if window.peek() == "]":
            break
        yield window.item()
        separator = ","
    if window.peek() == "]":
        window.skip()
        if not window.peek():
            return
    raise InputError("not JSON (the array is not closed, or text follows it)", file=name, line=window.line)


class _Window:
    """The part of a text that is at hand; `line` is that of the position in it."""

    def __init__(self, chunks: Iterable[bytes], name: str, limit: int) -> None:
        self.line = 1
        self._chunks = iter(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder()
        self._name, self._limit = name, limit
        self._text = ""
        self._at = 0
        self._ended = False

    def peek(self) -> str:
        """Go to the next character that is no white space and return it; "" at the end."""
        while True:
            self._advance(_SPACE.match(self._text, self._at).end())  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._read(1)

    def skip(self) -> None:
        """Go behind the character at the position."""
        self._advance(self._at + 1)

    def item(self) -> tuple[int, Any, str]:
        """Return the line, the value and the beginning of the item at the position, and go behind it."""
        while True:
            problem = None
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                problem = error
            except (ValueError, RecursionError) as error:  # thousands of digits, thousands of levels
                raise InputError(f"not JSON ({error})", file=self._name, line=self.line) from error
            # A number at the end of what is at hand may go on.
            if self._ended or (problem is None and end < len(self._text)):
                break
            held = len(self._text) - self._at
            if held > self._limit:
                why = problem.msg if problem is not None else "it does not end"
                reason = f"not JSON, or an item of more than {self._limit // 2**20} MB ({why})"
                raise InputError(reason, file=self._name, line=self.line)
            self._read(held + 1)  # as much again, so that all attempts together take time in proportion
        if problem is not None:
            at = self.line + self._text.count("\n", self._at, problem.pos)
            raise InputError(f"not JSON ({problem.msg})", file=self._name, line=at) from problem
        found = self.line, value, self._text[self._at : min(end, self._at + _RAW_CHARS)]
        self._advance(end)
        return found

    def _advance(self, position: int) -> None:
        self.line += self._text.count("\n", self._at, position)
        self._at = position

    def _read(self, least: int) -> None:
        """Let go of what lies behind, and take so many more characters, or what is left."""
        parts, got = [self._text[self._at :]], 0
        while got < least and not self._ended:
            chunk = next(self._chunks, b"")
            self._ended = not chunk
            try:
                parts.append(self._decoder.decode(chunk, final=self._ended))
            except UnicodeDecodeError as error:
                before = sum(part.count("\n") for part in parts) + chunk.count(b"\n", 0, error.start)
                raise InputError("not valid UTF-8", file=self._name, line=self.line + before) from error
            got += len(parts[-1])
        self._text, self._at = "".join(parts), 0
