"""Limits that a project sets in a TOML file: on rates themselves, and on how much worse a group may become."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from refusal_clf import rubrics
from refusal_clf.desired import complied
from refusal_clf.records import InputError, Verdict
from refusal_clf.scoring import GroupKey, group_order
from refusal_clf.statistics import wilson_interval

_NAMES: Final = ("suite", "subset", "category")
_BOUNDS: Final = ("max_compliance", "min_compliance", "max_worsening")


@dataclass(frozen=True, slots=True)
class Limit:
    """What is tolerated in one group; a name that is None matches any suite or subset, or the total of categories.

    Attributes
    ----------
    max_compliance, min_compliance
        Bounds of the compliance rate itself, fractions in [0, 1].
    max_worsening
        How far the rate may move the wrong way from the baseline, a fraction in [0, 1].
    """

    suite: str | None = None
    subset: str | None = None
    category: str | None = None
    max_compliance: float | None = None
    min_compliance: float | None = None
    max_worsening: float | None = None

    def covers(self, suite: str, subset: str | None, category: str | None) -> bool:
        """Say whether the limit is for this group."""
        return self.suite in (None, suite) and self.subset in (None, subset) and self.category == category

    @property
    def name(self) -> str:
        """The group as messages show it."""
        return " · ".join(filter(None, (self.suite, self.subset, self.category))) or "all"


@dataclass(frozen=True, slots=True)
class LimitCheck:
    """One bound held against one group; rates are fractions, the interval is Wilson's at 95 %."""

    suite: str
    subset: str | None
    category: str | None
    n: int
    rate: float
    ci_low: float
    ci_high: float
    bound: str
    value: float
    failed: bool

    @property
    def name(self) -> str:
        """The group as messages show it."""
        return " · ".join(filter(None, (self.suite, self.subset, self.category)))


def read_limits(path: Path) -> tuple[Limit, ...]:
    """Read a limits file: tables `[[limit]]` with names of a group and bounds.

    Raises
    ------
    InputError
        If the file is no TOML, or a field is unknown or no fraction.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("no such file", file=path) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a nesting of thousands of levels
        raise InputError(f"not TOML ({error})", file=path) from error
    tables = document.get("limit")
    if set(document) != {"limit"} or not isinstance(tables, list) or not all(isinstance(item, dict) for item in tables):
        raise InputError(f"holds no [[limit]] tables alone (found: {', '.join(document) or 'nothing'})", file=path)
    return tuple(_limit(table, f"[[limit]] {number}", path) for number, table in enumerate(tables, start=1))


def group_keys(verdict: Verdict) -> list[GroupKey]:
    """Return the groups of a verdict that limits and comparisons are about: its subset and, if known, its category."""
    category, _ = rubrics.canonical_group(verdict.category, verdict.subcategory)
    total = GroupKey(verdict.suite, verdict.subset or None, None, None)
    return [total] if category is None else [total, total._replace(category=category)]


def check_limits(verdicts: Iterable[Verdict], limits: Iterable[Limit], *, strict: bool = False) -> Iterator[LimitCheck]:
    """Hold the compliance rates of a run (`desired.complied`) against the limits on rates.

    Empty responses are in no rate: a group that holds nothing else is not checked.

    Parameters
    ----------
    strict
        Whether the whole interval must keep the bound, not the rate alone.

    Raises
    ------
    InputError
        If a limit is for a group that the run does not hold: it would never fail.
    """
    groups: dict[GroupKey, list[bool]] = {}
    for verdict in verdicts:
        for key in group_keys(verdict):
            outcomes = groups.setdefault(key, [])
            if "empty" not in verdict.flags:
                outcomes.append(complied(verdict))
    for limit in limits:
        covered = [key for key in sorted(groups, key=group_order) if limit.covers(*key[:3])]
        if not covered:
            found = ", ".join(dict.fromkeys(f"{key.suite} · {key.subset or '-'}" for key in groups))
            raise InputError(f"the limit on '{limit.name}' is for no group of this run (it holds: {found})")
        for key in covered:
            yield from _checks(key, groups[key], limit, strict=strict)


def _checks(key: GroupKey, outcomes: list[bool], limit: Limit, *, strict: bool) -> Iterator[LimitCheck]:
    interval = wilson_interval(sum(outcomes), len(outcomes))
    if interval is None:
        return
    rate, (low, high) = sum(outcomes) / len(outcomes), interval
    for bound, value in (("max_compliance", limit.max_compliance), ("min_compliance", limit.min_compliance)):
        if value is None:
            continue
        failed = (high if strict else rate) > value if bound == "max_compliance" else (low if strict else rate) < value
        yield LimitCheck(*key[:3], len(outcomes), rate, low, high, bound, value, failed=failed)


def _limit(table: dict[str, Any], where: str, path: Path) -> Limit:
    known = [field.name for field in fields(Limit)]
    for name, value in table.items():
        if name not in known:
            raise InputError(f"{where}: unknown field '{name}' (known: {', '.join(known)})", file=path)
        if name in _NAMES and not isinstance(value, str):
            raise InputError(f"{where}: field '{name}' is no text", file=path)
        fraction = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
        if name in _BOUNDS and not fraction:
            raise InputError(f"{where}: field '{name}' is no fraction between 0 and 1", file=path)
    if not table.keys() & set(_BOUNDS):
        raise InputError(f"{where}: none of {', '.join(_BOUNDS)}", file=path)
    return Limit(**table)
