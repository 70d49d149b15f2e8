"""Questions -> answers in the store: bounded concurrency, retries, and the reasons for which a run stops."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from refusal_clf.judge.budget import Budget
from refusal_clf.judge.client import JudgeClient, RefusedError, TransientError
from refusal_clf.judge.parsing import parse_label
from refusal_clf.judge.prices import Price, most_prompt_tokens
from refusal_clf.judge.prompts import Question
from refusal_clf.judge.retrying import FAILURES_IN_A_ROW, REFUSED_IN_A_ROW, Patience, Retry
from refusal_clf.judge.store import Answer, Call, Store
from refusal_clf.records import InputError
from refusal_clf.report.escaping import printable

ATTEMPTS: Final = 2
"""Answers that a question gets before it is unscored: the first and one retry."""
GARBAGE: Final = 20
"""Answers without any label after which a run stops."""

_SHOWN_ANSWERS: Final = 3
_KEPT: Final = "; every answer is kept, and the same command goes on"


@dataclass(slots=True)
class Progress:
    """What became of a run's questions.

    Attributes
    ----------
    answers
        Answers of this run.
    failed
        Question -> why it has no answer; a later run asks it again.
    limit_reached
        Whether the budget ended the run.
    """

    answers: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    limit_reached: bool = False


class Judging:
    """Asks questions until each has a label or `ATTEMPTS` answers, and keeps every answer.

    Parameters
    ----------
    labels
        What the judge may answer.
    price
        USD of its tokens; None if not known, which costs nothing.

    Attributes
    ----------
    on_finished
        Told how many questions were finished, each time that some are.
    """

    def __init__(
        self,
        client: JudgeClient,
        store: Store,
        budget: Budget,
        labels: Collection[str],
        price: Price | None,
        retry: Retry | None = None,
    ) -> None:
        self.client, self.store, self.budget, self.price = client, store, budget, price
        self.progress = Progress()
        self.has_label = False
        self.on_finished: Callable[[int], None] = lambda _: None
        self._labels = labels
        self._patience = Patience(client.endpoint.shown, retry, kept=_KEPT)
        self._answers: dict[str, list[Answer]] = {}
        self._garbage: list[Answer] = []
        self._call_ended = asyncio.Event()
        self._turn = asyncio.Lock()

    def prepare(self, questions: Sequence[Question]) -> list[Question]:
        """Look up earlier answers and return the questions that are left, each once."""
        kept = self.store.answers({question.key for question in questions})
        self._answers = {key: [answer for answer in answers if self._counts(answer)] for key, answers in kept.items()}
        self.has_label = any(self.label(question.key) for question in questions)
        left = {question.key: question for question in questions if not self.finished(question.key)}
        return list(left.values())

    def label(self, key: str) -> str | None:
        """Return the label that a question has; None before it has one, and if it is unscored."""
        found = (parse_label(answer.text, self._labels) for answer in self._answers.get(key, ()))
        return next((label for label in found if label is not None), None)

    def attempts(self, key: str) -> int:
        """Return how many answers a question has."""
        return len(self._answers.get(key, ()))

    def cut(self, key: str) -> bool:
        """Say whether an answer to a question was cut at the limit on its length."""
        return any(answer.cut for answer in self._answers.get(key, ()))

    def finished(self, key: str) -> bool:
        """Say whether a question will not be asked again."""
        return self.label(key) is not None or self.attempts(key) >= ATTEMPTS

    def _counts(self, answer: Answer) -> bool:
        """Say whether an earlier answer counts: not if it was cut, without a label, where there is more room now.

        What was cut by the context window is shorter than what was asked for, and would be cut there again.
        """
        had = answer.max_tokens or answer.completion_tokens or math.inf
        shorter = answer.cut and had < self.client.endpoint.max_tokens
        return not shorter or parse_label(answer.text, self._labels) is not None

    async def ask_all(self, questions: Iterable[Question], concurrency: int) -> None:
        """Ask questions, the first ones one at a time until the judge has given a label.

        So a wrong key, model or prompt costs a call or a few, not a full round of them.

        Raises
        ------
        InputError
            If the endpoint or the judge is unusable. Calls in flight are waited for, and every answer is kept.
        """
        waiting = deque(questions)
        await self.ask_first(waiting)
        problems: list[InputError] = []

        async def work() -> None:
            while waiting and not problems and not self.progress.limit_reached:
                try:
                    await self._finish(waiting.popleft())
                except InputError as error:
                    problems.append(error)
                    self._patience.stopped = True

        await asyncio.gather(*(work() for _ in range(concurrency)))
        if problems:
            raise problems[0]

    async def ask_first(self, waiting: deque[Question], answers: int = 0) -> None:
        """Take questions from the left and ask them, one at a time, until there is a label and so many new answers."""
        while waiting and not self.progress.limit_reached:
            if self.has_label and self.progress.answers >= answers:
                return
            await self._finish(waiting.popleft())

    def most(self, question: Question, attempt: int) -> float:
        """Return the most USD that a call can cost."""
        if self.price is None:
            return 0.0
        tokens = most_prompt_tokens(question.messages(attempt))
        return self.price.cost(tokens, self.client.endpoint.max_tokens)

    def cost(self, answer: Answer, most: float) -> float:
        """Return what an answer did cost; the most if the endpoint does not count tokens."""
        if self.price is None:
            return 0.0
        if answer.prompt_tokens is None or answer.completion_tokens is None:
            return most
        return self.price.cost(answer.prompt_tokens, answer.completion_tokens)

    def keep(self, number: int, key: str, most: float, answer: Answer) -> None:
        """Store an answer, and take note of what it says."""
        cost = self.cost(answer, most)
        self.store.answered(number, answer, cost)
        self.budget.settle(most, cost)
        self._call_ended.set()
        self._answers.setdefault(key, []).append(answer)
        self.progress.answers += 1
        self._patience.answered()
        if self.label(key) is not None:
            self.has_label = True
        if self.finished(key):
            self.on_finished(1)
        if not self.has_label:
            self._garbage.append(answer)

    def check_garbage(self) -> None:
        """Stop a judge that answers, but never with a label."""
        if self.has_label or len(self._garbage) < GARBAGE:
            return
        first = "; ".join(f"'{printable(answer.text, limit=120)}'" for answer in self._garbage[:_SHOWN_ANSWERS])
        cut = sum(answer.cut for answer in self._garbage)
        limit = f"; {cut} were cut at --max-tokens {self.client.endpoint.max_tokens}: give more" if cut else ""
        raise InputError(
            f"the first {GARBAGE} answers of '{self.client.endpoint.model}' end in no label, so it was asked no more;"
            f" they begin: {first}{limit}"
        )

    async def _finish(self, question: Question) -> None:
        """Ask a question until it is finished, fails, or the budget is used up."""
        while not self.finished(question.key):
            if not await self._ask(question, self.attempts(question.key) + 1):
                return
            self.check_garbage()

    async def _ask(self, question: Question, attempt: int) -> bool:
        """Make one call, repeating it while that may help; say whether it was answered."""
        tries = 0
        while True:
            most = self.most(question, attempt)
            if not await self._reserve(most):
                return False
            await self._patience.pause()
            number = self.store.begin(Call(question.key, attempt, most, self.client.endpoint.max_tokens))
            try:
                answer = await self.client.ask(question.messages(attempt))
            except TransientError as error:
                tries += 1
                self._no_answer(number, most, error.reason, billed=error.billed)
                if not await self._patience.try_again(error, tries):
                    self._failed(question, error.reason, FAILURES_IN_A_ROW)
                    return False
            except RefusedError as error:
                self._no_answer(number, most, error.reason)
                self._failed(question, error.reason, None if self.has_label else REFUSED_IN_A_ROW)
                return False
            except InputError as error:
                self._no_answer(number, most, str(error))
                raise
            else:
                self.keep(number, question.key, most, answer)
                return True

    async def _reserve(self, most: float) -> bool:
        """Take a call out of the budget, or say that the run ends: it does not fit, and nothing will be given back."""
        # One after the other: what was judged must be the first part of the rows, whatever calls could cost.
        async with self._turn:
            while not self._patience.stopped and not self.progress.limit_reached:
                if self.budget.reserve(most):
                    return True
                if self.budget.in_flight:
                    self._call_ended.clear()
                    await self._call_ended.wait()
                else:
                    self.progress.limit_reached = True
        return False

    def _no_answer(self, number: int, most: float, reason: str, *, billed: bool = False) -> None:
        if billed:
            self.store.lost(number, reason)
            self.budget.lose()
        else:
            self.store.failed(number, reason)
            self.budget.release(most)
        self._call_ended.set()

    def _failed(self, question: Question, reason: str, limit: int | None) -> None:
        """Leave a question for a later run; stop if so many in a row have no answer. None is for a definite refusal."""
        self.progress.failed[question.key] = reason
        self.on_finished(1)
        self._patience.failed(reason, limit)
