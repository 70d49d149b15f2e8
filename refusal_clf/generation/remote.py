"""Completions from an OpenAI-compatible endpoint: bounded concurrency, retries, and rows that never get an answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from refusal_clf.generation.outcome import Outcome
from refusal_clf.judge.client import Endpoint, JudgeClient, RefusedError, TransientError
from refusal_clf.judge.judging import Retry
from refusal_clf.judge.store import Answer
from refusal_clf.records import Completion, InputError

FAILURES_IN_A_ROW: Final = 20
"""Rows in a row without an answer after which a run stops: the endpoint is down, and not its mood."""

_LONGEST_WAIT: Final = 600.0


def answer_all(
    endpoint: Endpoint,
    prompts: Iterable[Completion],
    take: Callable[[Completion], None],
    *,
    system: str | None = None,
    concurrency: int = 8,
    retry: Retry | None = None,
) -> Outcome:
    """Ask an endpoint every prompt, and hand over each completion as it comes.

    Parameters
    ----------
    take
        Told of each completion, in the order of the answers; never by two tasks at once.
    system
        A system message before each prompt.
    concurrency
        Requests in flight.
    """
    return asyncio.run(_Asking(endpoint, take, system, retry or Retry()).run(prompts, concurrency))


class _Asking:
    def __init__(
        self, endpoint: Endpoint, take: Callable[[Completion], None], system: str | None, retry: Retry
    ) -> None:
        self._endpoint, self._take, self._system, self._retry = endpoint, take, system, retry
        self._outcome = Outcome()
        self._failures_in_a_row = 0
        self._not_before = 0.0

    async def run(self, prompts: Iterable[Completion], concurrency: int) -> Outcome:
        waiting = deque(prompts)
        async with JudgeClient(self._endpoint) as client:
            # One at a time until something was answered: a wrong key or address costs a request, not a round of them.
            while waiting and not self._outcome.answered and self._outcome.problem is None:
                await self._finish(client, waiting.popleft())

            async def work() -> None:
                while waiting and self._outcome.problem is None:
                    await self._finish(client, waiting.popleft())

            await asyncio.gather(*(work() for _ in range(concurrency)))
        return self._outcome

    async def _finish(self, client: JudgeClient, prompt: Completion) -> None:
        try:
            answer = await self._answer(client, prompt)
        except (TransientError, RefusedError) as error:
            self._outcome.failed.append(error.reason)
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= FAILURES_IN_A_ROW:
                self._stop(InputError(f"{self._endpoint.shown}: no answer {FAILURES_IN_A_ROW} times ({error.reason})"))
        except InputError as error:
            self._stop(error)
        else:
            self._failures_in_a_row = 0
            self._outcome.answered += 1
            self._outcome.cut += answer.cut
            self._take(replace(prompt, response=answer.text, model=self._endpoint.model))

    async def _answer(self, client: JudgeClient, prompt: Completion) -> Answer:
        """Repeat a request while that may help."""
        messages = [{"role": "system", "content": self._system}] if self._system is not None else []
        messages.append({"role": "user", "content": prompt.prompt})
        tries = 0
        while True:
            await asyncio.sleep(max(self._not_before - _now(), 0.0))
            try:
                return await client.ask(messages)
            except TransientError as error:
                tries += 1
                self._check_worth_a_retry(error, tries)
                if error.wait is None:
                    await asyncio.sleep(self._retry.wait(tries))
                else:  # whoever asks one to wait, asks all
                    self._not_before = max(self._not_before, _now() + error.wait)

    def _check_worth_a_retry(self, error: TransientError, tries: int) -> None:
        if (error.wait or 0.0) > _LONGEST_WAIT:
            raise InputError(f"{self._endpoint.shown} asks to wait {error.wait:.0f} s ({error.reason})")
        if self._outcome.problem is not None:
            raise error
        limit = self._retry.times
        if not self._outcome.answered:  # then a wrong address is likelier than a busy server
            limit = 0 if error.unreachable else self._retry.before_first if error.wait is None else limit
        if tries > limit and not self._outcome.answered:
            raise InputError(f"{self._endpoint.shown}: {error.reason}")
        if tries > limit:
            raise error

    def _stop(self, problem: InputError) -> None:
        self._outcome.problem = self._outcome.problem or problem


def _now() -> float:
    return asyncio.get_running_loop().time()
