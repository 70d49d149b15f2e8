"""Which examples a fold trains on and which it is tested on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf.records import InputError
from refusal_clf.training.dataset import IGNORE, Example

PROTOCOLS: Final = ("leave-model-out", "grouped")


@dataclass(frozen=True, slots=True)
class Fold:
    """Indices into the examples; `name` says what is left out."""

    name: str
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def make_folds(examples: Sequence[Example], protocol: str, n_folds: int | None = None) -> list[Fold]:
    """Split by a named protocol.

    Parameters
    ----------
    examples
        Labelled examples.
    protocol
        `leave-model-out`: no response of a tested model family is trained on, in whatever file it stands;
        responses that no model wrote are always trained on and never tested. `grouped`: no prompt is in two
        folds.
    n_folds
        Leave-model-out: families are left out together in this many folds (default: one family a fold), which
        is cheaper and stricter. Grouped: number of folds (default 5).

    Raises
    ------
    InputError
        If the protocol is unknown or the examples cannot be split by it.
    """
    if protocol == "leave-model-out":
        return _leave_model_out(examples, n_folds)
    if protocol == "grouped":
        return _split(examples, _assign(examples, lambda e: e.prompt_key, n_folds or 5), lambda e: e.prompt_key)
    raise InputError(f"unknown protocol {protocol!r} (known: {', '.join(PROTOCOLS)})")


def _leave_model_out(examples: Sequence[Example], n_folds: int | None) -> list[Fold]:
    families = {example.family for example in examples} - {None}
    if len(families) < 2:
        raise InputError("leave-model-out needs labelled responses of at least two models")
    return _split(examples, _assign(examples, lambda e: e.family, n_folds or len(families)), lambda e: e.family)


def _assign(examples: Sequence[Example], key: Callable[[Example], str | None], n_folds: int) -> list[list[str]]:
    """Deal keys to folds, the largest first and always to the smallest fold.

    Keys with verdicts are dealt before those with refusal classes alone, each kind evenly, so that no fold
    loses a whole label family. Of folds that are equally small, one without any key comes first: none stays empty.
    """
    sizes: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    with_verdict = {key(example) for example in examples if example.verdict != IGNORE}
    for example in examples:
        if (name := key(example)) is not None:
            sizes[name in with_verdict][name] += 1
    folds: list[list[str]] = [[] for _ in range(min(n_folds, sum(map(len, sizes.values()))))]
    for kind in (True, False):
        load = [0] * len(folds)
        for name, size in sorted(sizes[kind].items(), key=lambda item: (-item[1], item[0])):
            smallest = min(range(len(folds)), key=lambda fold: (load[fold], len(folds[fold]) > 0))
            folds[smallest].append(name)
            load[smallest] += size
    return folds


def _split(examples: Sequence[Example], folds: list[list[str]], key: Callable[[Example], str | None]) -> list[Fold]:
    keys = np.array([key(example) or "" for example in examples])
    result = []
    for number, names in enumerate(folds):
        tested = np.isin(keys, names)
        name = ", ".join(names) if len(names) < 6 else f"fold {number + 1}"
        result.append(Fold(name, np.flatnonzero(~tested), np.flatnonzero(tested)))
    return result
