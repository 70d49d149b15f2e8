"""Completions from an OpenAI-compatible endpoint: bounded concurrency, retries, and rows that never get an answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from refusal_clf.generation.outcome import Outcome
from refusal_clf.judge.client import Endpoint, JudgeClient, RefusedError, TransientError
from refusal_clf.judge.interrupting import run_interruptible
from refusal_clf.judge.retrying import FAILURES_IN_A_ROW, REFUSED_IN_A_ROW, Patience, Retry
from refusal_clf.judge.store import Answer
from refusal_clf.records import Completion, InputError


def answer_all(
    endpoint: Endpoint,
    prompts: Iterable[Completion],
    take: Callable[[Completion], None],
    *,
    system: str | None = None,
    concurrency: int = 8,
    retry: Retry | None = None,
    known: bool = False,
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
    known
        Whether an earlier run got answers: then prompts that the endpoint refuses do not end this one.
    """
    return run_interruptible(_Asking(endpoint, take, system, retry, known=known).run(prompts, concurrency))


class _Asking:
    def __init__(
        self,
        endpoint: Endpoint,
        take: Callable[[Completion], None],
        system: str | None,
        retry: Retry | None,
        *,
        known: bool,
    ) -> None:
        self._endpoint, self._take, self._system, self._known = endpoint, take, system, known
        self._outcome = Outcome()
        self._patience = Patience(endpoint.shown, retry)

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
        except InputError as error:
            self._stop(error)
        except TransientError as error:
            self._failed(error.reason, FAILURES_IN_A_ROW)
        except RefusedError as error:
            self._failed(error.reason, None if self._known else REFUSED_IN_A_ROW)
        else:
            self._known = True
            self._patience.answered()
            self._outcome.answered += 1
            self._outcome.cut += answer.cut
            self._take(replace(prompt, response=answer.text, model=self._endpoint.model))

    async def _answer(self, client: JudgeClient, prompt: Completion) -> Answer:
        """Repeat a request while that may help."""
        messages = [{"role": "system", "content": self._system}] if self._system is not None else []
        messages.append({"role": "user", "content": prompt.prompt})
        tries = 0
        while True:
            await self._patience.pause()
            try:
                return await client.ask(messages)
            except TransientError as error:
                tries += 1
                if not await self._patience.try_again(error, tries):
                    raise

    def _failed(self, reason: str, limit: int | None) -> None:
        self._outcome.failed.append(reason)
        try:
            self._patience.failed(reason, limit)
        except InputError as error:
            self._stop(error)

    def _stop(self, problem: InputError) -> None:
        self._outcome.problem = self._outcome.problem or problem
        self._patience.stopped = True
