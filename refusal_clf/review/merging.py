"""Two reviewers' labels files -> one, and how far they agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from refusal_clf.calibration.agreement import agreement, kappa
from refusal_clf.calibration.matching import HUMAN
from refusal_clf.formats import SkippedRow, read_rows
from refusal_clf.reading import read_labels
from refusal_clf.records import InputError, Label
from refusal_clf.review.store import CHOICES, Key, LabelField, key_of

Prefer = Literal["first", "second"]
FIELDS: Final[tuple[LabelField, ...]] = ("verdict", "refusal")


@dataclass(frozen=True, slots=True)
class Conflict:
    """A completion that two reviewers label differently in one field."""

    field: LabelField
    first: Label
    second: Label


@dataclass(frozen=True, slots=True)
class Merged:
    """Rows of a labels file, the conflicts, and agreement by field.

    `agreements` has, for each field that both labelled somewhere, the number of such completions, the share of equal
    labels and Cohen's kappa.
    """

    rows: tuple[dict[str, Any], ...]
    conflicts: tuple[Conflict, ...]
    agreements: dict[LabelField, tuple[int, float, float]]


def merge(first: Path, second: Path, *, prefer: Prefer | None = None) -> Merged:
    """Merge two labels files of people.

    Parameters
    ----------
    prefer
        Whose label is taken where they conflict; None leaves that label out.

    Raises
    ------
    InputError
        If a file is unusable, or holds labels of a judge that is no person: they would come out as a person's.
    """
    a, b = _by_key(first), _by_key(second)
    names = _reviewer(first), _reviewer(second)
    rows, conflicts = [], []
    for key in {**a, **b}:
        one, two = a.get(key), b.get(key)
        label = one or two
        assert label is not None  # noqa: S101  # a key of one of them
        row: dict[str, Any] = asdict(label.completion)
        for field in FIELDS:
            given = [getattr(side, field) if side is not None else None for side in (one, two)]
            if one is not None and two is not None and None not in given and given[0] != given[1]:
                conflicts.append(Conflict(field, one, two))
                given = [None] if prefer is None else [given[prefer == "second"]]
            row[field] = next((value for value in given if value is not None), None)
        row["judge"] = HUMAN
        row["reviewer"] = "+".join(name for name, side in zip(names, (one, two), strict=True) if side is not None)
        queues = {side.queue for side in (one, two) if side is not None}
        row["queue"] = queues.pop() if len(queues) == 1 else None
        if row["verdict"] is not None or row["refusal"] is not None:
            rows.append(row)
    return Merged(tuple(rows), tuple(conflicts), _agreements(a, b))


def _by_key(path: Path) -> dict[Key, Label]:
    found: dict[Key, Label] = {}
    for label in read_labels(path):
        if label.judge != HUMAN:
            raise InputError(
                f"holds labels of '{label.judge}', which are not a person's (id {label.completion.id})", file=path
            )
        if found.setdefault(key_of(label.completion), label) is not label:
            raise InputError(f"labels one completion twice (id {label.completion.id})", file=path)
    if not found:
        raise InputError("no row gives a label", file=path)
    return found


def _reviewer(path: Path) -> str:
    """Return who labelled a file, or else its name."""
    row = next(iter(read_rows(path)))
    named = None if isinstance(row, SkippedRow) else row.values.get("reviewer")
    return named if isinstance(named, str) and named else path.stem


def _agreements(a: Mapping[Key, Label], b: Mapping[Key, Label]) -> dict[LabelField, tuple[int, float, float]]:
    found: dict[LabelField, tuple[int, float, float]] = {}
    for field in FIELDS:
        both = [(getattr(a[key], field), getattr(b[key], field)) for key in a if key in b]
        told = np.array([[CHOICES[field].index(x) for x in pair] for pair in both if None not in pair], np.int64)
        if len(told):
            found[field] = (len(told), agreement(told[:, 0], told[:, 1]), kappa(told[:, 0], told[:, 1]))
    return found
