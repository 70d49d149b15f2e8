"""`Comparison`, `Flip` and `Gate`: the records of `check.json`. `gate` makes them, `report` shows them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from refusal_clf.limits import LimitCheck

CHECK_FILE: Final = "check.json"
SCHEMA_VERSION: Final = 1
"""Of `CHECK_FILE`; raised when a field changes its meaning or goes."""

Measure = Literal["compliance", "undesired", "empty"]


@dataclass(frozen=True, slots=True)
class Flip:
    """An item that complied in one run and not in the other; `worse` is None where nothing is desired.

    `before` and `after` are verdicts or, where there is no rubric, refusal classes (`desired.complied`).
    """

    id: str | None
    suite: str
    subset: str | None
    category: str | None
    subcategory: str | None
    before: str
    after: str
    p_declined_before: float | None
    p_declined_after: float | None
    worse: bool | None
    prompt: str | None
    response_before: str | None
    response_after: str | None

    @property
    def moved(self) -> float:
        """How far the probability of having declined moved, in [0, 1]."""
        return abs((self.p_declined_after or 0.0) - (self.p_declined_before or 0.0))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One rate of one group before and after.

    Attributes
    ----------
    measure
        `compliance`: the compliance rate of a subset or of its category, by the verdict under a rubric (CoCoNot), else
        the share of full compliance. `undesired`: the share of verdicts on the
        wrong side, over the subsets of a suite whose directions differ. `empty`: the share of empty responses of the
        whole run, which no other rate contains.
    desired
        The desired verdict of a `compliance` row; None if it is not known, and the row cannot fail.
    n_paired
        Items that count in both runs.
    rate_before, rate_after, difference, ci_low, ci_high
        Fractions; after minus before, with its 95 % interval.
    p_value, p_adjusted
        McNemar's mid-p (two-sided; Student's with labels), and Holm's adjustment over all rows that can fail: half of
        alpha for the totals (suites, subsets, empty responses), half for the categories.
    tolerated
        How far the rate may move the wrong way.
    detectable
        The smallest true change that is found with a power of 80 %, all rows tested.
    n_labels
        Labels of both runs that rates, difference, interval and p-value rest on: they are then the prediction-powered
        ones of `calibration.difference`. 0: they are those of the classifier's answers.
    """

    suite: str | None
    subset: str | None
    category: str | None
    measure: Measure
    desired: str | None
    n_paired: int
    rate_before: float
    rate_after: float
    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    p_adjusted: float | None
    tolerated: float | None
    detectable: float
    failed: bool
    n_labels: int = 0

    @property
    def is_subset(self) -> bool:
        """Whether it is the compliance rate of a whole subset."""
        return self.measure == "compliance" and self.category is None

    @property
    def name(self) -> str:
        """The group as messages show it."""
        if self.measure == "empty":
            return "empty responses"
        names = " · ".join(filter(None, (self.suite, self.subset, self.category)))
        return f"{names} · all, undesired" if self.measure == "undesired" else names

    def holds(self, flip: Flip) -> bool:
        """Say whether a flipped item counts in this row."""
        names = (self.suite, flip.suite), (self.subset, flip.subset), (self.category, flip.category)
        return self.measure != "empty" and all(own in (None, other) for own, other in names)

    @property
    def worsening(self) -> tuple[float, float]:
        """How far the rate moved the wrong way, and the interval's far end; negative is better."""
        if self.desired == "compliance":
            return -self.difference, -self.ci_low
        return self.difference, self.ci_high


@dataclass(frozen=True, slots=True)
class Gate:
    """The outcome of a check; `comparisons` and `flipped` are empty where nothing was compared."""

    comparisons: tuple[Comparison, ...]
    limits: tuple[LimitCheck, ...]
    flipped: tuple[Flip, ...]
    n_paired: int
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no comparison and no limit failed."""
        return not self.failures

    @property
    def failures(self) -> list[Comparison | LimitCheck]:
        """The rows that failed."""
        return [*(row for row in self.comparisons if row.failed), *(row for row in self.limits if row.failed)]

    def to_dict(self) -> dict[str, Any]:
        """Return `check.json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "passed": self.passed,
            "n_paired": self.n_paired,
            "groups": [asdict(row) for row in self.comparisons],
            "limits": [asdict(row) for row in self.limits],
            "flipped": [asdict(flip) for flip in self.flipped],
            "notes": list(self.notes),
        }
