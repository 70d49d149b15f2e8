"""Which completions a judge should see, and with what probability each was chosen. Knows no models and no judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from refusal_clf.records import InputError

Strategy = Literal["uniform", "stratified", "uncertain"]
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)


@dataclass(frozen=True, slots=True)
class SampleUnit:
    """A completion that may be drawn: its place in the caller's list, its stratum, the classifier's probability."""

    index: int
    stratum: str
    p_noncompliance: float | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A completion that was drawn: `inclusion_probability`, in (0, 1], is that of its design before the draw."""

    index: int
    inclusion_probability: float
    stratum: str


def stratum_of(subset: str | None, subcategory: str | None) -> str:
    """Return the name of the stratum of a completion: its subset and subcategory."""
    return f"{subset or '-'} / {subcategory or '-'}"


def draw(units: Sequence[SampleUnit], n: int, strategy: Strategy, seed: int) -> list[Drawn]:
    """Draw `n` of the units without replacement, all if there are no more, in a random order.

    Raises
    ------
    InputError
        If the strategy is not `uniform`, or `n` is not positive.
    """
    if strategy != "uniform":
        raise InputError(f"the strategy '{strategy}' is not there yet (known: uniform)")
    if n < 1:
        raise InputError(f"cannot draw {n} completions")
    random = np.random.default_rng(seed)
    n = min(n, len(units))
    rows = random.choice(len(units), n, replace=False)
    drawn = [Drawn(units[row].index, n / len(units), units[row].stratum) for row in rows]
    return [drawn[place] for place in random.permutation(n)]
