"""Labels of two runs -> what a judge says of their pairs, weighed by how the labels were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from refusal_clf.calibration.design import weigh
from refusal_clf.calibration.difference import Fit, Side, fit_change
from refusal_clf.calibration.matching import Scored, counting, match, text_key
from refusal_clf.calibration.sampling import stratum_of
from refusal_clf.desired import has_rubric, p_declined
from refusal_clf.pairing import Item, Pair
from refusal_clf.records import Completion, InputError, Label, Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """What the judge says of all pairs, in their order; groups share the `fit`."""

    before: Side
    after: Side
    fit: Fit
    notes: tuple[str, ...] = ()


def judge_pairs(
    pairs: Sequence[Pair],
    before: Sequence[Item],
    after: Sequence[Item],
    labels_before: Sequence[Label] | None,
    labels_after: Sequence[Label],
) -> Judged:
    """Match one judge's labels to the items of two runs.

    Parameters
    ----------
    before, after
        All items of the runs: what the labels were drawn from.
    labels_before
        Those of the baseline; None if `labels_after` holds both runs' labels.

    Raises
    ------
    InputError
        If there are no labels of one of the runs, if it cannot be told which run they are of, or they cannot be weighed
        (`design.weigh`).
    """
    if labels_before is None:
        _check_told_apart(before, after, labels_after)
        labels_before = labels_after
    old, notes_before = _side("baseline", [one.before for one in pairs], before, labels_before)
    new, notes_after = _side("run", [one.after for one in pairs], after, labels_after)
    return Judged(old, new, fit_change(old, new), tuple(dict.fromkeys((*notes_before, *notes_after))))


def _side(name: str, paired: Sequence[Item], items: Sequence[Item], labels: Sequence[Label]) -> tuple[Side, list[str]]:
    scored = [Scored(item.verdict, _text(item)) for item in items]
    matches = match(scored, labels)
    used = counting(scored)
    row_of = {place: row for row, place in enumerate(used)}
    told = [
        (place, label, complied)
        for place, label in sorted(matches.rows.items())
        if (complied := _complied(label, items[place].verdict)) is not None
    ]
    if len(told) < 2:
        raise InputError(
            f"the {name} has {len(told)} labels of use, and a difference needs both runs' ({matches.describe()})"
        )
    verdicts = [items[place].verdict for place in used]
    sample, _, notes = weigh(
        [stratum_of(verdict.subset, verdict.subcategory) for verdict in verdicts],
        [row_of[place] for place, _, _ in told],
        np.array([complied for _, _, complied in told]),
        [label.sampled for _, label, _ in told],
    )
    index = {item.key: number for number, item in enumerate(paired)}
    weight, truth = np.zeros(len(paired)), np.zeros(len(paired))
    for (place, _, complied), stands_for in zip(told, sample.weight, strict=True):
        number = index.get(items[place].key)
        if number is not None:
            weight[number], truth[number] = stands_for, complied
    scores = np.array([1 - (p_declined(item.verdict) or 0.0) for item in paired])
    return Side(scores, truth, weight), [f"labels of the {name}: {note}" for note in notes]


def _complied(label: Label, verdict: Verdict) -> bool | None:
    """Say whether the judge saw compliance (as `desired.complied`); None if the label does not tell."""
    if has_rubric(verdict.suite, verdict.subcategory):
        return None if label.verdict is None else label.verdict == "compliance"
    return None if label.refusal is None else label.refusal == "full_compliance"


def _text(item: Item) -> bytes | None:
    if item.prompt is None or item.response is None:
        return None
    return text_key(Completion(prompt=item.prompt, response=item.response))


def _check_told_apart(before: Sequence[Item], after: Sequence[Item], labels: Sequence[Label]) -> None:
    """Refuse labels of both runs that neither a response nor a model's name assigns to one of them."""
    with_texts = all(item.response is not None for item in (*before, *after))
    if with_texts and all(label.completion.response for label in labels):
        return
    models = [{item.verdict.model for item in items} for items in (before, after)]
    named = None not in models[0] | models[1] and all(label.completion.model for label in labels)
    if not named or models[0] & models[1]:
        raise InputError(
            "it cannot be told which run the labels are of: give those of the baseline with --baseline-labels, or "
            "files of completions in the place of results folders"
        )
