"""`asyncio.run` for a process that may be told to end: SIGTERM stops the tasks in order, as SIGINT does."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_interruptible(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; where SIGTERM raises `KeyboardInterrupt`, that comes after its tasks were cancelled.

    Raised in the middle of a step of the event loop it would leave a task whose end nobody looks at, and asyncio
    writes a traceback of each such task.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        return asyncio.run(coroutine)
    try:
        return asyncio.run(_cancelled_by_sigterm(coroutine, handler))
    finally:
        signal.signal(signal.SIGTERM, handler)


async def _cancelled_by_sigterm(coroutine: Coroutine[Any, Any, T], handler: Callable[..., Any]) -> T:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    interrupts: list[KeyboardInterrupt] = []

    def cancel(number: int, frame: object) -> None:
        try:
            handler(number, frame)
        except KeyboardInterrupt as interrupt:
            interrupts.append(interrupt)
            if task is not None:
                loop.call_soon_threadsafe(task.cancel)  # it also wakes a loop that waits

    signal.signal(signal.SIGTERM, cancel)
    try:
        return await coroutine
    except asyncio.CancelledError:
        if interrupts:
            raise interrupts[0] from None
        raise
