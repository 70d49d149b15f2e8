"""The steps that `judge` and `score --judge` share: an endpoint and its limits, the questions, what came of them."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from refusal_clf.cli.bar import progress
from refusal_clf.cli.progress import say
from refusal_clf.records import InputError

if TYPE_CHECKING:
    from refusal_clf.judge.client import Endpoint
    from refusal_clf.judge.prices import Price, PriceTable
    from refusal_clf.judge.prompts import Form, Question
    from refusal_clf.judge.rows import Design, Rows
    from refusal_clf.judge.rubric import Rubric
    from refusal_clf.judge.session import Outcome, Plan
    from refusal_clf.records import Label

OPENAI: Final = "https://api.openai.com/v1"
CONCURRENCY: Final = 8
TIMEOUT: Final = 120.0
MAX_TOKENS: Final = 1024
_FAILURES_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Judge:
    """Whom to ask, in which form, and under which limits; `rubric` is None in XSTest's form."""

    endpoint: Endpoint
    form: Form
    rubric: Rubric | None
    plan: Plan

    @property
    def name(self) -> str:
        """The judge's name at its endpoint."""
        return self.endpoint.model

    def identity(self) -> dict[str, Any]:
        """Return what a resumed run must share."""
        return {"name": self.name, "budget": self.plan.max_calls, "form": self.form, "rubric": self.plan.rubric}


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a design's rows.

    Attributes
    ----------
    labels
        Index of a completion -> its label, in the order of the completions.
    reached
        Keys of the questions that the judge was asked, in the design's order: all of them, or those before a limit.
    """

    judge: Judge
    design: Design
    outcome: Outcome
    labels: dict[int, Label]
    reached: list[str]

    @property
    def not_reached(self) -> int:
        """Rows that a limit kept from the judge."""
        return len(self.design.drawn) - len(self.reached)

    def facts(self) -> dict[str, Any]:
        """Return the numbers of rows, labels, calls, tokens and USD, as `judge` prints them."""
        outcome, spent = self.outcome, self.outcome.spent
        counts = Counter(outcome.labels[key] for key in self.reached if key in outcome.labels)
        return {
            "chosen": len(self.design.drawn),
            "strategy": self.design.strategy,
            "labelled": counts.total(),
            "labels": {name: counts[name] for name in self.judge.plan.labels},
            "unscored": sum(key in outcome.unscored for key in self.reached),
            "failed": sum(key in outcome.failed for key in self.reached),
            "not_reached": self.not_reached,
            "calls": spent.calls,
            "calls_lost": spent.lost,
            "answers_of_this_run": outcome.answers,
            "prompt_tokens": spent.prompt_tokens,
            "completion_tokens": spent.completion_tokens,
            "cost_usd": None if self.judge.plan.price is None else round(spent.cost, 6),
        }


def find_price(
    model: str, prices: Path | None, max_cost: float | None, prefix: str = "--"
) -> tuple[Price | None, Price | None]:
    """Return what a judge's tokens cost, asked one by one and in batches; options begin with `prefix`.

    Raises
    ------
    InputError
        If the price table is unusable, or lacks the judge although there is a limit on the cost.
    """
    from refusal_clf.judge.prices import load_prices

    table: PriceTable = load_prices(prices)
    price = table.find(model)
    if max_cost is not None and price is None:
        raise InputError(
            f"{prefix}max-cost needs the price of '{model}', which the table lacks: give it with {prefix}prices"
        )
    if max_cost is not None and prices is None:
        say(f"prices as of {table.as_of}; {prefix}prices takes newer ones")
    return price, price and price.times(table.batch_factor)


def put_questions(judge: Judge, completions: Rows, design: Design) -> Asked:
    """Ask a judge about the rows of a design, with a progress bar.

    Raises
    ------
    InputError
        If rows cannot be asked about, or the endpoint, the judge or the store is unusable and there is no label. What
        ends a run after there are labels is `outcome.problem`.
    """
    from refusal_clf.judge.rows import ask_about, drawn_labels, unknown_subcategories

    questions = ask_about(completions, design, judge.name, judge.form, judge.rubric)
    if judge.rubric is not None and (unknown := unknown_subcategories(completions, design, judge.rubric)):
        say(f"{unknown:,} rows have a subcategory that nobody knows: judged by the generic rubric")
    outcome = _ask(judge, questions)
    order = [questions[drawn.index].key for drawn in design.drawn]
    reached = next((place for place, key in enumerate(order) if key in outcome.unasked), len(order))
    said = {index: outcome.labels[one.key] for index, one in questions.items() if one.key in outcome.labels}
    labels = drawn_labels(completions, design, said, reached, judge=judge.name, form=judge.form)
    return Asked(judge, design, outcome, labels, order[:reached])


def _ask(judge: Judge, questions: dict[int, Question]) -> Outcome:
    from refusal_clf.judge.session import run_judge

    total = len({question.key for question in questions.values()})
    with ExitStack() as bars:
        try:
            return run_judge(
                judge.endpoint,
                list(questions.values()),
                judge.plan,
                started=lambda done: bars.enter_context(progress("judging", total, done)),
                say=say,
            )
        except KeyboardInterrupt:
            say(f"interrupted; every answer is in {judge.plan.store}, and the same command goes on")
            raise


def tell(asked: Asked) -> None:
    """Say on standard error what a reader of the labels must know."""
    outcome = asked.outcome
    if asked.not_reached:
        say(
            f"stopped at the limit: {asked.not_reached:,} rows were not reached; "
            "what was judged is a random part of the rest"
        )
    if outcome.unscored:
        say(f"{len(outcome.unscored):,} rows are unscored: the judge answered them without a label")
    if outcome.cut:
        limit = asked.judge.endpoint.max_tokens
        say(f"the answers to {outcome.cut:,} of them were cut at --max-tokens {limit}: give more")
    if outcome.failed:
        say(f"{len(outcome.failed):,} rows got no answer; the same command asks for them again:")
        for reason, count in Counter(outcome.failed.values()).most_common(_FAILURES_SHOWN):
            say(f"  {count:,} × {reason}")
