"""Completions -> the rows that are judged -> the rows of a labels file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from refusal_clf.judge.prompts import Form, Question, coconot_question, xstest_question
from refusal_clf.judge.rubric import Rubric
from refusal_clf.records import Completion, InputError, Strategy, Verdict
from refusal_clf.rubrics import rubric_of
from refusal_clf.text import prepare

if TYPE_CHECKING:
    from refusal_clf.calibration.sampling import Drawn


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

    Raises
    ------
    InputError
        If no row is left.
    """
    from refusal_clf.calibration.sampling import SampleUnit, draw, stratum_of

    units = [
        SampleUnit(
            index,
            stratum_of(completion.subset, completion.subcategory),
            verdicts[index].p_noncompliance if verdicts is not None else None,
        )
        for index, completion in enumerate(completions)
        if "empty" not in prepare(completion).flags
    ]
    if not units:
        raise InputError("every response is empty: nothing to judge")
    drawn = draw(units, len(units) if n is None else n, "uniform" if n is None else strategy, seed)
    return Design(None if n is None else strategy, tuple(drawn))


def ask_about(
    completions: Sequence[Completion], design: Design, judge: str, form: Form, rubric: Rubric | None
) -> dict[int, Question]:
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


def unknown_subcategories(completions: Sequence[Completion], design: Design, rubric: Rubric) -> int:
    """Count the chosen rows that are judged by `generic` because nobody knows their subcategory."""
    return sum(
        rubric_of(name)[1] and rubric.find(name)[0] == "generic"
        for name in (completions[drawn.index].subcategory for drawn in design.drawn)
    )


def label_rows(
    completions: Sequence[Completion],
    design: Design,
    labels: Mapping[int, str],
    reached: int,
    *,
    judge: str,
    form: Form,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a labels file in the order of the completions; rows without a label are left out.

    Parameters
    ----------
    labels
        Index of a completion -> its label.
    reached
        How many rows of the design, from its start, the judge was asked about. If a limit ended the run before the
        last, those are a random part of the design: inclusion probabilities are multiplied with their share, and
        answers that happen to be known of later rows are left out.
    """
    share = reached / len(design.drawn)
    strategy = design.strategy or ("uniform" if share < 1 else None)
    for drawn in sorted(design.drawn[:reached], key=lambda drawn: drawn.index):
        if drawn.index not in labels:
            continue
        row: dict[str, Any] = asdict(completions[drawn.index])
        prompt, response = row.pop("prompt"), row.pop("response")
        row |= {"prompt": prompt, "response": response}
        row["verdict" if form == "coconot" else "refusal"] = labels[drawn.index]
        row["judge"] = judge
        if strategy is not None:
            row["inclusion_probability"] = drawn.inclusion_probability * share
            row["stratum"], row["strategy"] = drawn.stratum, strategy
        yield row
