"""One run of a judge over its questions: store, budget and client put together."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from refusal_clf.judge.batch import ask_in_batches, collect_open
from refusal_clf.judge.budget import Budget
from refusal_clf.judge.client import Endpoint, JudgeClient
from refusal_clf.judge.interrupting import run_interruptible
from refusal_clf.judge.judging import Judging
from refusal_clf.judge.prices import Price
from refusal_clf.judge.prompts import PROMPT_VERSION, Question
from refusal_clf.judge.retrying import Retry
from refusal_clf.judge.store import Spent, Store
from refusal_clf.records import InputError


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run goes about its questions.

    Attributes
    ----------
    max_calls, max_cost
        Limits on all calls (USD) that these questions have had and will have, earlier runs included; None for none.
    price, batch_price
        USD of tokens, asked one by one and in batches; None if not known.
    batch
        Whether to use the batch interface, once the judge has given a first label.
    poll
        Seconds between two looks at a batch.
    """

    store: Path
    labels: Collection[str]
    rubric: str | None = None
    max_calls: int | None = None
    max_cost: float | None = None
    price: Price | None = None
    batch_price: Price | None = None
    concurrency: int = 8
    batch: bool = False
    poll: float = 30.0
    retry: Retry = Retry()  # noqa: RUF009  # immutable


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run.

    Attributes
    ----------
    labels
        Key of a question -> its label.
    unscored
        Keys of the questions that were answered, but not with a label, and did not fail; `cut` is the number of those
        with an answer that was cut at the limit on its length.
    failed
        Key -> why it has no answer.
    answers
        Answers of this run; `spent` is that of all runs.
    unasked
        Keys that have neither an answer nor a failure: where the budget or a problem ended the run.
    problem
        What made the endpoint or the judge unusable after there were labels; None if nothing did.
    """

    labels: dict[str, str]
    unscored: frozenset[str]
    cut: int
    failed: dict[str, str]
    unasked: frozenset[str]
    answers: int
    spent: Spent
    problem: InputError | None


def run_judge(
    endpoint: Endpoint,
    questions: Sequence[Question],
    plan: Plan,
    *,
    started: Callable[[int], Callable[[int], None]] = lambda _: lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Ask a judge what it was not asked before, and return what it has said to all questions.

    Parameters
    ----------
    started
        Called with the number of questions answered before; returns a function that is told how many more were.
    say
        Told of batches.

    Raises
    ------
    InputError
        If the endpoint, the judge or the store is unusable and there is no label. Whatever was answered is kept.
    """
    store = Store(plan.store, judge=endpoint.model, prompt_version=PROMPT_VERSION, rubric=plan.rubric)
    with store:
        try:
            outcome = run_interruptible(_run(endpoint, questions, plan, store, started, say))
        except sqlite3.OperationalError as error:  # a full disk, a folder that was deleted
            reason = f"cannot be written ({error}); what it holds is kept, and the same command goes on"
            raise InputError(reason, file=plan.store) from error
        if not plan.store.exists():
            say(f"! {plan.store} was deleted meanwhile: what it held would be asked again")
        return outcome


async def _run(
    endpoint: Endpoint,
    questions: Sequence[Question],
    plan: Plan,
    store: Store,
    started: Callable[[int], Callable[[int], None]],
    say: Callable[[str], None],
) -> Outcome:
    keys = {question.key for question in questions}
    async with JudgeClient(endpoint) as client:
        # What is in flight since an earlier run comes first: it would be paid for a second time.
        collecting = Judging(client, store, Budget(None, None), plan.labels, plan.batch_price)
        await collect_open(collecting, plan.poll, say)
        before = store.spent(keys)
        if plan.max_cost is not None and plan.price is not None and plan.price.cost(1, 1) > 0 and before.unpriced:
            raise InputError(
                f"{before.unpriced:,} calls of earlier runs were stored without a price, so that --max-cost cannot"
                " count them: give --max-calls, or another --store",
                file=plan.store,
            )
        budget = Budget(plan.max_calls, plan.max_cost, before.calls, before.cost)
        judging = Judging(client, store, budget, plan.labels, plan.price, plan.retry)
        left = judging.prepare(questions)
        judging.on_finished = started(len(keys) - len(left))
        problem = None
        try:
            await _ask(judging, left, plan, say)
        except InputError as error:
            if not judging.has_label:
                raise
            problem = error
        failed = judging.progress.failed
        if failed and failed.keys() == keys:
            raise InputError(f"{endpoint.shown}: no row got an answer ({next(iter(failed.values()))})")
    return _outcome(judging, keys, collecting.progress.answers, problem)


async def _ask(judging: Judging, left: list[Question], plan: Plan, say: Callable[[str], None]) -> None:
    if not plan.batch:
        await judging.ask_all(left, plan.concurrency)
        return
    waiting = deque(left)
    # What the endpoint does not support is learned from an answer; a batch that was sent cannot be changed.
    await judging.ask_first(waiting, answers=1)
    judging.price = plan.batch_price
    await ask_in_batches(judging, waiting, plan.poll, say)


def _outcome(judging: Judging, keys: set[str], collected: int, problem: InputError | None) -> Outcome:
    labels = {key: label for key in keys if (label := judging.label(key)) is not None}
    progress = judging.progress
    unscored = frozenset(key for key in keys - labels.keys() - progress.failed.keys() if judging.attempts(key))
    return Outcome(
        labels=labels,
        unscored=unscored,
        failed=progress.failed,
        cut=sum(judging.cut(key) for key in unscored),
        unasked=frozenset(key for key in keys - progress.failed.keys() if not judging.attempts(key)),
        answers=progress.answers + collected,
        spent=judging.store.spent(keys),
        problem=problem,
    )
