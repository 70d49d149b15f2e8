"""Completions -> the queue that a reviewer goes through."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from refusal_clf.records import Completion, InputError, Label, Verdict

QueueName = Literal["disagreements", "uncertain", "random"]
QUEUES: Final[tuple[QueueName, ...]] = get_args(QueueName)

_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A completion to label, with what the classifier and, if it labelled this one, the judge say of it."""

    completion: Completion
    verdict: Verdict
    judged: Label | None


def make_queue(
    completions: Sequence[Completion], verdicts: Sequence[Verdict], judged: Mapping[int, Label], queue: QueueName
) -> list[ReviewItem]:
    """Return what is worth a reviewer's look, in an order that is the same each time.

    Parameters
    ----------
    completions, verdicts
        Of one file, in the same order. Empty responses are left out.
    judged
        Place of a completion -> the judge's label of it.
    queue
        `disagreements`: where the judge's verdict or refusal class is not the classifier's, the surest answers of the
        classifier first. `uncertain`: nearest to even odds first. `random`: in a random order, so that whatever part is
        labelled is a random sample of the file.

    Raises
    ------
    InputError
        If nothing is left to review.
    """
    items = [
        ReviewItem(completion, verdict, judged.get(place))
        for place, (completion, verdict) in enumerate(zip(completions, verdicts, strict=True))
        if verdict.p_noncompliance is not None
    ]
    if queue == "random":
        random.Random(_SEED).shuffle(items)  # noqa: S311  # a draw, not a secret
    else:
        items = [item for item in items if queue == "uncertain" or _disagree(item)]
        items.sort(key=lambda item: _distance(item.verdict), reverse=queue == "disagreements")
    if not items:
        raise InputError(
            "the classifier and the judge disagree nowhere" if queue == "disagreements" else "every response is empty"
        )
    return items


def _distance(verdict: Verdict) -> float:
    """Return how far the verdict is from even odds, in [0, 0.5]."""
    return abs((verdict.p_noncompliance or 0.0) - 0.5)


def _disagree(item: ReviewItem) -> bool:
    label = item.judged
    return label is not None and (
        label.verdict not in (None, item.verdict.verdict) or label.refusal not in (None, item.verdict.refusal)
    )
