"""When a request is repeated, when a row is left without an answer, and when a run stops; shared by all its workers."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from refusal_clf.judge.client import TransientError
from refusal_clf.records import InputError

FAILURES_IN_A_ROW: Final = 5
REFUSED_IN_A_ROW: Final = 20
"""Rows in a row without an answer after which a run stops: after all retries, and when the endpoint refuses each at
once. The latter stops no model that ever gave an answer of use: filters stop the prompts of safety benchmarks."""

_LONGEST_WAIT: Final = 600.0


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a request is repeated, and the seconds waited first; they double each time, up to `longest`.

    `before_first` is the number of repetitions while the endpoint has never answered: then a wrong address is
    likelier than a busy server.
    """

    times: int = 6
    before_first: int = 2
    first: float = 1.0
    longest: float = 60.0

    def wait(self, tries: int) -> float:
        """Return the seconds to wait after so many tries, with jitter so that workers do not come back together."""
        return float(min(self.longest, self.first * 2 ** (tries - 1)) * random.uniform(0.5, 1.0))  # noqa: S311


class Patience:
    """What a run has seen of its endpoint, and so how long it goes on asking.

    Parameters
    ----------
    shown
        The endpoint, as messages name it.
    kept
        The end of a message that stops a run in its midst: what is kept, and how to go on.

    Attributes
    ----------
    stopped
        Set once the run ends: nothing is repeated any more.
    """

    def __init__(self, shown: str, retry: Retry | None = None, *, kept: str = "") -> None:
        self.stopped = False
        self._shown, self._retry, self._kept = shown, retry or Retry(), kept
        self._has_answered = False
        self._failures_in_a_row = 0
        self._not_before = 0.0

    def answered(self) -> None:
        """Take note of an answer."""
        self._has_answered = True
        self._failures_in_a_row = 0

    async def pause(self) -> None:
        """Wait as long as the endpoint asked any of the workers to."""
        while (left := self._not_before - _now()) > 0:
            await asyncio.sleep(left)

    async def try_again(self, error: TransientError, tries: int) -> bool:
        """Wait and say True if a request that failed so many times is to be repeated.

        This worker alone waits here or, if the endpoint asks for it, all of them in `pause`.

        Raises
        ------
        InputError
            If the endpoint never answered anything, or asks to wait too long.
        """
        if self._has_answered and (tries > self._retry.times or self.stopped):
            return False
        if not self._has_answered:
            # Being told to wait is an answer of sorts.
            limit = 0 if error.unreachable else self._retry.before_first if error.wait is None else self._retry.times
            if tries > limit:
                raise InputError(f"{self._shown}: {error.reason}")
        if error.wait is None:
            await asyncio.sleep(self._retry.wait(tries))
        elif error.wait > _LONGEST_WAIT:
            raise InputError(f"{self._shown} asks to wait {error.wait:.0f} s ({error.reason}){self._kept}")
        else:
            self._not_before = max(self._not_before, _now() + error.wait)
        return True

    def failed(self, reason: str, limit: int | None) -> None:
        """Take note of a row that is left; None is for one that says nothing of the endpoint.

        Raises
        ------
        InputError
            If there were `limit` of them in a row.
        """
        if limit is None:
            return
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= limit:
            raise InputError(
                f"{self._shown}: {self._failures_in_a_row} rows in a row got no answer ({reason}){self._kept}"
            )


def _now() -> float:
    return asyncio.get_running_loop().time()
