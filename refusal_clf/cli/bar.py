"""A progress bar on standard error, where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(what: str, total: int | None, done: int = 0, *, rate: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a bar with rate and remaining time; yields a function that is told how many rows were finished.

    Parameters
    ----------
    what
        A verb: what is being done.
    total, done
        Rows in all (None: not known) and those finished before.
    rate
        Whether rows a second are shown; what takes seconds each has none.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f} rows/s" if task.speed else "")

    columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
    rates = (Rate(),) if rate else ()
    with Progress(*columns, *rates, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda n: bar.update(task, advance=n)
