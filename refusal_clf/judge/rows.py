"""Completions -> the rows that are judged -> the rows of a labels file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from refusal_clf.judge.prompts import Form, Question, coconot_question, xstest_question
from refusal_clf.judge.rubric import Rubric
from refusal_clf.records import (
    Completion,
    InputError,
    Label,
    RefusalName,
    Sampled,
    Strategy,
    Verdict,
    VerdictName,
)
from refusal_clf.rubrics import rubric_of
from refusal_clf.text import prepare

if TYPE_CHECKING:
    from refusal_clf.calibration.sampling import Drawn, SampleUnit

Rows = Sequence[Completion] | Mapping[int, Completion]
"""Completions by their index: all of a file, or those that were drawn."""


@dataclass(frozen=True, slots=True)
class Design:
    """How rows were drawn; `strategy` is None if all of them were to be judged."""

    strategy: Strategy | None
    drawn: tuple[Drawn, ...]


def choose(
    completions: Sequence[Completion],
    verdicts: Sequence[Verdict] | None,
    n: int | None,
    strategy: Strategy,
    seed: int,
    form: Form = "coconot",
) -> Design:
    """Choose the rows that a judge sees, in a random order, so that any part of them is a random part.

    Empty responses are not drawn: they have no rate to count in.

    Parameters
    ----------
    completions
        Those of one file.
    verdicts
        The classifier's, in the same order; the strategies but `uniform` use their probabilities.
    n
        How many rows; None for all.
    form
        What the judge is asked, and so which of the probabilities counts.

    Raises
    ------
    InputError
        If no row is left.
    """
    from refusal_clf.calibration.sampling import SampleUnit, stratum_of

    units = [
        SampleUnit(
            index,
            stratum_of(completion.subset, completion.subcategory),
            None if verdicts is None else _probability(verdicts[index], form),
        )
        for index, completion in enumerate(completions)
        if "empty" not in prepare(completion).flags
    ]
    return _design(units, n, strategy, seed)


def choose_uncertain(verdicts: Sequence[Verdict], n: int, seed: int, form: Form) -> Design:
    """Choose `n` rows, doubtful ones with a higher probability, from verdicts alone; see `choose`."""
    from refusal_clf.calibration.sampling import SampleUnit, stratum_of

    units = [
        SampleUnit(index, stratum_of(verdict.subset, verdict.subcategory), _probability(verdict, form))
        for index, verdict in enumerate(verdicts)
        if "empty" not in verdict.flags
    ]
    return _design(units, n, "uncertain", seed)


def _design(units: Sequence[SampleUnit], n: int | None, strategy: Strategy, seed: int) -> Design:
    from refusal_clf.calibration.sampling import draw

    if not units:
        raise InputError("every response is empty: nothing to judge")
    drawn = draw(units, len(units) if n is None else n, "uniform" if n is None else strategy, seed)
    return Design(None if n is None else strategy, tuple(drawn))


def _probability(verdict: Verdict, form: Form) -> float | None:
    return verdict.p_noncompliance if form == "coconot" else verdict.p_refusal


def ask_about(completions: Rows, design: Design, judge: str, form: Form, rubric: Rubric | None) -> dict[int, Question]:
    """Return the question about each chosen row, by its index in `completions` and in the order of the design.

    Raises
    ------
    InputError
        If rows have no prompt, or the rubric lacks their subcategory; the message counts and names them.
    """
    chosen = [completions[drawn.index] for drawn in design.drawn]
    if bare := [completion for completion in chosen if not completion.prompt.strip()]:
        which = f", the first is '{bare[0].id}'" if bare[0].id else ""
        raise InputError(f"{len(bare):,} rows have no prompt, which a judge must see{which}")
    if form == "xstest" or rubric is None:
        return {drawn.index: xstest_question(judge, completions[drawn.index]) for drawn in design.drawn}
    questions, missing = {}, dict[str, int]()
    for drawn in design.drawn:
        completion = completions[drawn.index]
        name, description = rubric.find(completion.subcategory)
        if description is None:
            missing[name] = missing.get(name, 0) + 1
        else:
            questions[drawn.index] = coconot_question(judge, completion, name, description)
    if missing:
        listed = ", ".join(f"'{name}' ({count:,} rows)" for name, count in sorted(missing.items()))
        raise InputError(f"the rubric '{rubric.name}' has no text for {listed}")
    return questions


def unknown_subcategories(completions: Rows, design: Design, rubric: Rubric) -> int:
    """Count the chosen rows that are judged by `generic` because nobody knows their subcategory."""
    return sum(
        rubric_of(name)[1] and rubric.find(name)[0] == "generic"
        for name in (completions[drawn.index].subcategory for drawn in design.drawn)
    )


def drawn_labels(
    completions: Rows,
    design: Design,
    labels: Mapping[int, str],
    reached: int,
    *,
    judge: str,
    form: Form,
) -> dict[int, Label]:
    """Return the labels of the chosen rows, in the order of the completions; rows without one are left out.

    Parameters
    ----------
    labels
        Index of a completion -> what the judge said.
    reached
        How many rows of the design, from its start, the judge was asked about. If a limit ended the run before the
        last, those are a random part of the design: inclusion probabilities are multiplied with their share, and
        answers that happen to be known of later rows are left out.
    """
    share = reached / len(design.drawn)
    strategy = design.strategy or ("uniform" if share < 1 else None)
    told: dict[int, Label] = {}
    for drawn in sorted(design.drawn[:reached], key=lambda drawn: drawn.index):
        if drawn.index not in labels:
            continue
        said = labels[drawn.index]
        told[drawn.index] = Label(
            completions[drawn.index],
            verdict=cast("VerdictName", said) if form == "coconot" else None,
            refusal=cast("RefusalName", said) if form == "xstest" else None,
            judge=judge,
            sampled=strategy and Sampled(strategy, drawn.stratum, drawn.inclusion_probability * share),
        )
    return told


def judged(verdicts: Iterable[Verdict], labels: Mapping[int, Label]) -> Iterator[Verdict]:
    """Yield the verdicts of a file, with the judge's in the place of the classifier's where there is a label.

    Their `tier` is `judge`, and they are not `uncertain` any more; probabilities stay the classifier's.
    """
    for index, verdict in enumerate(verdicts):
        label = labels.get(index)
        if label is None:
            yield verdict
            continue
        yield replace(
            verdict,
            verdict=label.verdict or verdict.verdict,
            refusal=label.refusal or verdict.refusal,
            tier="judge",
            flags=tuple(flag for flag in verdict.flags if flag != "uncertain"),
        )


def label_row(label: Label) -> dict[str, Any]:
    """Return a label as a row of a labels file."""
    row: dict[str, Any] = asdict(label.completion)
    prompt, response = row.pop("prompt"), row.pop("response")
    row |= {"prompt": prompt, "response": response}
    row |= {"refusal": label.refusal} if label.verdict is None else {"verdict": label.verdict}
    row["judge"] = label.judge
    if (sampled := label.sampled) is not None:
        row["inclusion_probability"] = sampled.inclusion_probability
        row["stratum"], row["strategy"] = sampled.stratum, sampled.strategy
    return row
