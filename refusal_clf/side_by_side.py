"""Several runs side by side: each group's rate in each run, and its difference from the first run, paired by item.

Knows no models and no files. Rates are those that `check` gates (`desired.complied`): by the verdict under a rubric,
else the share of full compliance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from refusal_clf.desired import desired_of
from refusal_clf.limits import group_keys
from refusal_clf.paired import holm, mcnemar_midp, paired_difference_interval
from refusal_clf.pairing import Item, pair
from refusal_clf.records import InputError
from refusal_clf.scoring import GroupKey, group_order
from refusal_clf.statistics import wilson_interval

COMPARE_FILE: Final = "compare.json"
SCHEMA_VERSION: Final = 1
"""Of `COMPARE_FILE`; raised when a field changes its meaning or goes."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One group in one run.

    Attributes
    ----------
    n, rate, ci_low, ci_high
        Responses of the run that count, and their compliance rate with Wilson's 95 % limits; None where none counts.
    n_paired, difference, difference_low, difference_high
        Items that count in the first run as well, and the rate there less the first run's, with its 95 % interval.
    p_value, p_adjusted
        McNemar's mid-p, and Holm's adjustment over all cells of all runs. None in the first run.
    """

    run: str
    n: int
    rate: float | None
    ci_low: float | None
    ci_high: float | None
    n_paired: int = 0
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One group in all runs, in their order."""

    key: GroupKey
    desired: str | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class SideBySide:
    """All groups of all runs; the first run is what the others are compared with."""

    runs: tuple[str, ...]
    lines: tuple[Line, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return `compare.json`."""
        groups = [
            {
                "suite": line.key.suite,
                "subset": line.key.subset,
                "category": line.key.category,
                "desired": line.desired,
                "runs": [asdict(cell) for cell in line.cells],
            }
            for line in self.lines
        ]
        return {"schema_version": SCHEMA_VERSION, "reference": self.runs[0], "runs": list(self.runs), "groups": groups}


def side_by_side(runs: Mapping[str, Sequence[Item]]) -> SideBySide:
    """Compare runs, each with the first.

    Raises
    ------
    InputError
        If there are fewer than two runs, or one shares no item with the first (`pairing.pair`).
    """
    if len(runs) < 2:
        raise InputError("nothing to compare: give two runs at least")
    first, *others = runs
    counted = {name: _outcomes(items) for name, items in runs.items()}
    changes = {name: _changes(first, runs[first], name, runs[name]) for name in others}
    lines = []
    for key in sorted({key for groups in counted.values() for key in groups}, key=group_order):
        cells = [_cell(name, counted[name].get(key, []), changes.get(name, {}).get(key)) for name in runs]
        lines.append(Line(key, desired_of(key.suite, key.subset), tuple(cells)))
    return SideBySide(tuple(runs), tuple(_adjusted(lines)))


def _outcomes(items: Iterable[Item]) -> dict[GroupKey, list[bool]]:
    groups: dict[GroupKey, list[bool]] = {}
    for item in items:
        for key in group_keys(item.verdict) if not item.empty else ():
            groups.setdefault(key, []).append(item.complied)
    return groups


def _changes(
    first: str, before: Sequence[Item], name: str, after: Sequence[Item]
) -> dict[GroupKey, list[tuple[bool, bool]]]:
    groups: dict[GroupKey, list[tuple[bool, bool]]] = {}
    try:
        pairs = pair(before, after, intersect=True)
    except InputError as error:  # which knows the two as baseline and run
        raise InputError(f"'{first}' (the baseline) and '{name}' (the run): {error.message}") from error
    for one in pairs:
        for key in group_keys(one.before.verdict) if one.answered else ():
            groups.setdefault(key, []).append((one.before.complied, one.after.complied))
    return groups


def _cell(name: str, outcomes: Sequence[bool], changes: Sequence[tuple[bool, bool]] | None) -> Cell:
    n = len(outcomes)
    low, high = wilson_interval(sum(outcomes), n) or (None, None)
    cell = Cell(name, n, sum(outcomes) / n if n else None, low, high)
    if not changes:
        return cell
    ups = sum(after and not before for before, after in changes)
    downs = sum(before and not after for before, after in changes)
    below, above = paired_difference_interval(ups, downs, len(changes))
    return replace(
        cell,
        n_paired=len(changes),
        difference=(ups - downs) / len(changes),
        difference_low=below,
        difference_high=above,
        p_value=mcnemar_midp(ups, downs),
    )


def _adjusted(lines: Sequence[Line]) -> list[Line]:
    p_values = [cell.p_value for line in lines for cell in line.cells if cell.p_value is not None]
    adjusted = iter(holm(p_values, [1.0] * len(p_values)))
    return [
        replace(
            line,
            cells=tuple(
                cell if cell.p_value is None else replace(cell, p_adjusted=next(adjusted)) for cell in line.cells
            ),
        )
        for line in lines
    ]
