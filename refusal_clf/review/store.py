"""A reviewer's labels: on disk before the next item is shown, undone step by step.

The whole file is written anew and put in the place of the old one with every label. A row that supersedes another would
be quicker to append, but a labels file may name a completion once only: so it is a valid one at every moment, for
`calibrate` and `train` as for a crash, and what was undone is gone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

from refusal_clf.calibration.matching import HUMAN, text_key
from refusal_clf.formats import SkippedRow, read_rows
from refusal_clf.reading import read_labels
from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, Completion, InputError
from refusal_clf.review.items import QueueName, ReviewItem
from refusal_clf.writing import json_line, replacing

LabelField = Literal["verdict", "refusal"]
CHOICES: Final[dict[str, tuple[str, ...]]] = {"verdict": VERDICTS, "refusal": REFUSAL_CLASSES}

Key = tuple[str | None, ...]


def key_of(completion: Completion) -> Key:
    """Return what tells a completion from others: suite, subset, model, id and its text."""
    text = text_key(completion)
    return completion.suite, completion.subset, completion.model, completion.id, text.hex() if text else None


class LabelStore:
    """The labels of one reviewer in one file, by the place of an item in the queue.

    Rows of completions that are not in the queue are kept as they are. Make one with `open_store`.
    """

    def __init__(self, path: Path, items: Sequence[ReviewItem], queue: QueueName, reviewer: str) -> None:
        self.path = path
        self._items = items
        self._queue = queue
        self._reviewer = reviewer
        self._rows: dict[Key, dict[str, Any]] = {}
        self._undo: list[tuple[int, dict[str, Any] | None]] = []
        self._seen = _state(path)

    def load(self) -> None:
        """Read what the file holds, if there is one.

        Raises
        ------
        InputError
            If it is no labels file, or another reviewer's.
        """
        if not self.path.exists() or not self.path.stat().st_size:
            return
        # Rows without any label are in no labels file of ours, so that labels and rows go together.
        labels = list(read_labels(self.path))
        rows = [row for row in read_rows(self.path) if not isinstance(row, SkippedRow)]
        if len(labels) != len(rows):
            raise InputError("has rows without a label: not a file of `review`", file=self.path)
        for label, row in zip(labels, rows, strict=True):
            if (whose := row.values.get("reviewer")) != self._reviewer:
                raise InputError(
                    f"holds labels of the reviewer {str(whose)[:40]!r}, not {self._reviewer!r}: give another --out, "
                    "and merge them later (--merge)",
                    file=self.path,
                    line=row.line,
                )
            self._rows[key_of(label.completion)] = row.values

    def get(self, place: int) -> dict[LabelField, str | None]:
        """Return the labels of an item; None where it has none yet."""
        row = self._rows.get(self._key(place), {})
        return {"verdict": row.get("verdict"), "refusal": row.get("refusal")}

    def set(self, place: int, field: LabelField, value: str, *, blind: bool) -> None:
        """Label an item; it is on disk when this returns.

        Raises
        ------
        InputError
            If the file was changed by somebody else, or cannot be written.
        """
        before = self._rows.get(self._key(place))
        row = dict(before) if before is not None else self._new_row(place)
        row[field] = value
        row["blind"] = bool(row["blind"]) and blind
        self._replace(place, row)
        self._undo.append((place, before))

    def undo(self) -> int | None:
        """Take back the last label of this session and return its place; None if there is none."""
        if not self._undo:
            return None
        place, before = self._undo[-1]
        self._replace(place, before)
        self._undo.pop()
        return place

    def _key(self, place: int) -> Key:
        return key_of(self._items[place].completion)

    def _new_row(self, place: int) -> dict[str, Any]:
        completion = self._items[place].completion
        return {
            **asdict(completion),
            "verdict": None,
            "refusal": None,
            "judge": HUMAN,
            "reviewer": self._reviewer,
            "queue": self._queue,
            "blind": True,
        }

    def _replace(self, place: int, row: dict[str, Any] | None) -> None:
        rows = dict(self._rows)
        if row is None:
            rows.pop(self._key(place), None)
        else:
            rows[self._key(place)] = row
        if _state(self.path) != self._seen:
            raise InputError("was changed since it was read, by another review perhaps: start again", file=self.path)
        with replacing(self.path) as stream:
            stream.writelines(json_line(row) for row in rows.values())
            stream.flush()
            os.fsync(stream.fileno())
        self._rows, self._seen = rows, _state(self.path)


def _state(path: Path) -> tuple[int, int, int] | None:
    """Return what tells a file from a later one in its place; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def open_store(path: Path, items: Sequence[ReviewItem], queue: QueueName, reviewer: str) -> LabelStore:
    """Return the store of a file, with the labels that it holds already.

    Raises
    ------
    InputError
        If the file holds something else than this reviewer's labels.
    """
    store = LabelStore(path, items, queue, reviewer)
    store.load()
    return store
