"""Jobs of many callers -> batches of one classifier: a thread that judges whatever has come meanwhile."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from refusal_clf.records import Completion, Verdict

Predict = Callable[[Sequence[Completion]], list[Verdict]]


class FullError(Exception):
    """More completions are waiting than may wait."""


class ClosedError(Exception):
    """No job is taken any more."""


@dataclass(frozen=True, slots=True)
class _Job:
    completions: Sequence[Completion]
    answer: Future[list[Verdict]] = field(default_factory=Future)


class Batcher:
    """Judges the jobs of many threads in one thread, in the order in which they came.

    No job waits for others to come: while one batch is judged, the next one gathers.

    Parameters
    ----------
    predict
        Completions -> a verdict for each, in order.
    max_batch
        The most completions that are judged together; a larger job is judged alone.
    max_waiting
        The most completions that wait, those in work included.
    on_batch
        Told of the size of each batch, in the batcher's thread.
    """

    def __init__(
        self, predict: Predict, *, max_batch: int, max_waiting: int, on_batch: Callable[[int], None] = lambda _: None
    ) -> None:
        self._predict, self._on_batch = predict, on_batch
        self._max_batch, self._max_waiting = max_batch, max_waiting
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._waiting = 0
        self._closed = False
        # A daemon, so that a service that never came up can end.
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Completions that wait for their verdicts."""
        return self._waiting

    def submit(self, completions: Sequence[Completion]) -> Future[list[Verdict]]:
        """Take a job; the future holds a verdict for each completion, or what went wrong.

        Raises
        ------
        FullError
            If too many completions wait; a job that is too large for `max_waiting` is taken when none does.
        ClosedError
            After `close`.
        """
        job = _Job(completions)
        with self._changed:
            if self._closed:
                raise ClosedError
            if self._waiting and self._waiting + len(completions) > self._max_waiting:
                raise FullError
            self._waiting += len(completions)
            self._jobs.append(job)
            self._changed.notify()
        return job.answer

    def close(self) -> None:
        """Take no more jobs, judge those that were taken, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            completions = [completion for job in batch for completion in job.completions]
            found: list[Verdict] | BaseException
            try:
                found = self._predict(completions)
                self._on_batch(len(completions))
            except BaseException as error:  # whoever waits must hear of it, and the thread goes on
                found = error
            with self._changed:  # before anyone is told: who has an answer waits no more
                self._waiting -= len(completions)
            start = 0
            for job in batch:
                end = start + len(job.completions)
                self._settle(job, found if isinstance(found, BaseException) else found[start:end])
                start = end

    @staticmethod
    def _settle(job: _Job, result: list[Verdict] | BaseException) -> None:
        # A caller that is gone has cancelled its future.
        if not job.answer.done() and job.answer.set_running_or_notify_cancel():
            if isinstance(result, BaseException):
                job.answer.set_exception(result)
            else:
                job.answer.set_result(result)

    def _next(self) -> list[_Job]:
        """Wait for a job and return it with those behind it that fit; nothing once the batcher is closed and empty."""
        with self._changed:
            while not self._jobs and not self._closed:
                self._changed.wait()
            batch: list[_Job] = []
            size = 0
            while self._jobs and (not batch or size + len(self._jobs[0].completions) <= self._max_batch):
                batch.append(self._jobs.popleft())
                size += len(batch[-1].completions)
            return batch
