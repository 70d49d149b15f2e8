"""`score --judge`: a judge's answers where the classifier is least certain, and rates that both make together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from refusal_clf.cli.extras import need
from refusal_clf.cli.judging import CONCURRENCY, TIMEOUT, Asked, Judge, find_price, put_questions, tell
from refusal_clf.cli.scored import facts_of
from refusal_clf.records import Completion, InputError, Label, Verdict
from refusal_clf.report.layout import percent

if TYPE_CHECKING:
    from refusal_clf.calibration.assessment import Assessment
    from refusal_clf.calibration.matching import Scored
    from refusal_clf.classifier import RefusalClassifier
    from refusal_clf.judge.prompts import Form
    from refusal_clf.summary import Report

FOLDER: Final = "judge"
"""In the results folder: the labels, what they say of the classifier, and the answers that were paid for."""
LABELS_FILE: Final = "labels.jsonl"
_STORE: Final = "answers.sqlite"
_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Options:
    """What the options of `score` say of the judge; all begin with `--judge`."""

    name: str
    budget: int
    base_url: str
    api_key_env: str | None
    rubric: Path | None
    max_cost: float | None
    prices: Path | None
    max_tokens: int

    def judge(self, out: Path, form: Form) -> Judge:
        """Return the judge with its limits; everything that can be wrong with them is found here, before any scoring.

        Raises
        ------
        InputError
            If there is no key, rubric or price where one is needed.
        """
        need("judge", "openai")
        from refusal_clf.judge.client import Endpoint, key_from
        from refusal_clf.judge.prompts import LABELS
        from refusal_clf.judge.rubric import load_rubric
        from refusal_clf.judge.session import Plan

        if form == "xstest" and self.rubric is not None:
            raise InputError("--judge-rubric has no meaning here: these prompts have no rubric")
        key = key_from(self.api_key_env, self.base_url, prefix="--judge-")
        rubric = None if form == "xstest" else load_rubric(self.rubric)
        price, _ = find_price(self.name, self.prices, self.max_cost, prefix="--judge-")
        plan = Plan(
            store=out / FOLDER / _STORE,
            labels=LABELS[form],
            rubric=rubric.name if rubric else None,
            max_calls=self.budget,
            max_cost=self.max_cost,
            price=price,
            concurrency=CONCURRENCY,
        )
        return Judge(Endpoint(self.name, self.base_url, key, TIMEOUT, self.max_tokens), form, rubric, plan)


def options_of(
    name: str | None,
    budget: int | None,
    base_url: str,
    api_key_env: str | None,
    rubric: Path | None,
    max_cost: float | None,
    prices: Path | None,
    max_tokens: int,
) -> Options | None:
    """Return what was said of a judge, or None if none is wanted.

    Raises
    ------
    InputError
        If a judge lacks its budget, or a budget its judge.
    """
    if name is None:
        if budget is not None or rubric is not None or max_cost is not None or prices is not None:
            raise InputError("the options of a judge need --judge NAME")
        return None
    if budget is None:
        raise InputError("--judge needs --judge-budget N, the calls that may be made")
    return Options(name, budget, base_url, api_key_env, rubric, max_cost, prices, max_tokens)


@dataclass(frozen=True, slots=True)
class Hybrid:
    """What the judge added to a run.

    Attributes
    ----------
    asked
        Its labels, and what they took.
    scored
        All completions with the classifier's own verdicts; texts only where they were kept.
    assessment
        The classifier against these labels.
    document
        The same as `judge/calibration.json` holds it.
    """

    asked: Asked
    scored: list[Scored]
    assessment: Assessment
    document: dict[str, Any]

    @property
    def labels(self) -> dict[int, Label]:
        """Place of a completion in the input -> the judge's label."""
        return self.asked.labels

    def verdicts(self) -> Iterator[Verdict]:
        """Yield the verdicts of the run: the judge's where it was asked, else the classifier's."""
        from refusal_clf.judge.rows import judged

        return judged((one.verdict for one in self.scored), self.labels)

    def corrected(self, report: Report) -> Report:
        """Return a report of `verdicts` with the rates that the judge would find."""
        from refusal_clf.calibration.correcting import with_corrected_rates

        return with_corrected_rates(report, self.assessment)

    def sentences(self) -> Iterator[str]:
        """Yield what a reader of the rates must know."""
        yield (
            f"{len(self.labels):,} of {self.assessment.n:,} verdicts are {self.asked.judge.name}'s (tier judge), whose "
            f"agreement with the classifier is {self._agreement()}"
        )
        yield "compliance rates are those that it would find in the whole file (prediction-powered, 95 %)"

    def _agreement(self) -> str:
        whole = self.assessment.groups[0].agreement
        return "unknown" if whole is None else percent(*whole.interval.to_dict().values())

    def summary(self) -> dict[str, Any]:
        """Return the part of `summary.json` that is the judge's."""
        facts = self.asked.facts()
        shown = ("subset", "category", "subcategory", "n", "n_labels", "classifier_rate", "corrected", "effective_n")
        return {
            "name": self.asked.judge.name,
            "target": self.document["target"],
            "n_verdicts": facts.pop("labelled"),
            **facts,
            "groups": [{name: group[name] for name in shown} for group in self.document["groups"]],
        }


def ask_judge(
    judge: Judge,
    out: Path,
    read: Callable[[], Iterator[Completion]],
    verdicts: list[Verdict],
    clf: RefusalClassifier,
    *,
    keep_texts: bool,
) -> Hybrid:
    """Ask a judge about completions drawn by the classifier's doubt, and correct the rates by its labels.

    Doubtful completions are drawn with a higher probability and sure ones with a lower, never with none
    (`calibration.sampling.draw`, "uncertain"): a judge that saw nothing but doubtful ones could say nothing of a whole
    file's rate.

    Parameters
    ----------
    out
        The results folder; labels, answers and calibration are written below it.
    read
        Reads the completions once more, in the order of `verdicts`.
    verdicts
        The classifier's, of all completions.
    keep_texts
        Whether the texts of all completions are held, for the report.

    Raises
    ------
    InputError
        If the judge ended the run, or gave fewer than two labels. Its answers are kept, and so are the verdicts.
    """
    from refusal_clf.calibration.assessment import Target, assess
    from refusal_clf.calibration.document import CALIBRATION_FILE, calibration_document
    from refusal_clf.calibration.matching import Scored
    from refusal_clf.judge.rows import choose_uncertain, label_row
    from refusal_clf.writing import write_json, write_jsonl

    design = choose_uncertain(verdicts, judge.plan.max_calls or 0, _SEED, judge.form)
    drawn = {one.index for one in design.drawn}
    texts = {index: one for index, one in enumerate(read()) if keep_texts or index in drawn}
    asked = put_questions(judge, texts, design)
    write_jsonl(out / FOLDER / LABELS_FILE, map(label_row, asked.labels.values()))
    if asked.outcome.problem is not None:
        raise InputError(f"{asked.outcome.problem}; --resume goes on from {out}")
    tell(asked)
    scored = [Scored(verdict, completion=texts.get(index)) for index, verdict in enumerate(verdicts)]
    target: Target = "verdict" if judge.form == "coconot" else "refusal"
    assessment = assess(scored, asked.labels, target)
    document = calibration_document(
        assessment,
        judge=judge.name,
        classifier=facts_of(clf),
        matched=f"{len(asked.labels):,} verdicts are the judge's, of {len(design.drawn):,} that were drawn for it",
        human=None,
        drift=None,
    )
    write_json(out / FOLDER / CALIBRATION_FILE, document)
    return Hybrid(asked, scored, assessment, document)
