"""Ids that come twice in a file: which rows they make unusable, found in little memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf.fields import Fields
from refusal_clf.formats import Row, SkippedRow, skipped

_RECENT: Final = 2**14
_FANOUT: Final = 4


class Repeats:
    """The rows of a file whose id was seen before: found by a first reading, known to later ones once it is complete.

    They are told by their place among all rows, usable or not: those of a JSON array may share a line.
    """

    def __init__(self) -> None:
        self.complete = False
        self._found: dict[int, SkippedRow] = {}

    def reading(self) -> Callable[[int, Row, Fields], SkippedRow | None]:
        """Begin a reading; what is returned says of each row in turn why its id makes it unusable, if it does."""
        if self.complete:
            return lambda number, row, fields: self._found.get(number)
        self._found.clear()
        seen = SeenIds()

        def check(number: int, row: Row, fields: Fields) -> SkippedRow | None:
            bad = repeated(seen, row, fields)
            if bad is not None:
                self._found[number] = bad
            return bad

        return check


def repeated(seen: SeenIds, row: Row, fields: Fields, judge: str = "") -> SkippedRow | None:
    """Return the row as unusable if its id is a repetition of one in the same suite, subset and model (and judge)."""
    if fields.id is None:
        return None
    first = seen.add((fields.suite, fields.subset, fields.model, judge, fields.id), row.line)
    if first is None:
        return None
    by = ", model and judge" if judge else " and model"
    return skipped(row.line, f"id '{fields.id}' repeats line {first} (same suite, subset{by})", row.raw)


class SeenIds:
    """Which ids were seen on which line, in 12 bytes an id: a dictionary would take ten times as much.

    They are kept in sorted runs, `_FANOUT` of which become one of the next size (a log-structured merge tree, O'Neil et
    al. 1996): a single one would be copied as a whole, time and again. Two of a million ids are taken for one with a
    chance of 3e-8 (8-byte hashes).
    """

    def __init__(self) -> None:
        self._recent: dict[int, int] = {}
        self._runs: list[_Run] = []

    def add(self, key: tuple[str | None, ...], line: int) -> int | None:
        """Record a key and return None, or return the line of its first occurrence."""
        digest = blake2b(repr(key).encode("utf-8", "replace"), digest_size=8).digest()
        value = int.from_bytes(digest, "little")
        if value in self._recent:
            return self._recent[value]
        sought = np.uint64(value)
        for hashes, lines in self._runs:
            at = int(hashes.searchsorted(sought))
            if at < len(hashes) and hashes[at] == sought:
                return int(lines[at])
        self._recent[value] = line
        if len(self._recent) == _RECENT:
            newest = (np.fromiter(self._recent.keys(), np.uint64), np.fromiter(self._recent.values(), np.uint32))
            self._recent = {}
            self._runs.append(_sorted_run([newest]))
            while len({len(hashes) for hashes, _ in self._runs[-_FANOUT:]}) == 1 and len(self._runs) >= _FANOUT:
                self._runs[-_FANOUT:] = [_sorted_run(self._runs[-_FANOUT:])]
        return None


_Run = tuple[NDArray[np.uint64], NDArray[np.uint32]]
"""Hashes in ascending order and the lines of each, both of shape (ids,)."""


def _sorted_run(runs: Sequence[_Run]) -> _Run:
    hashes = np.concatenate([hashes for hashes, _ in runs])
    order = hashes.argsort()
    return hashes[order], np.concatenate([lines for _, lines in runs])[order]
