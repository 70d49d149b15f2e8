"""`refusal-clf classify`: one verdict from arguments, or a filter from JSON lines to verdicts."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from refusal_clf.cli.choices import (
    CategoryOption,
    Model,
    OnError,
    PromptOption,
    SubcategoryOption,
    SubsetOption,
    Suite,
    SuiteChoice,
    Threads,
    Tier,
    completion_of,
    metadata_of,
)
from refusal_clf.cli.progress import say
from refusal_clf.records import Completion, InputError, Verdict
from refusal_clf.streams import STDIN, name_of

if TYPE_CHECKING:
    from refusal_clf.formats import SkippedRow

_T = TypeVar("_T")

BATCH: Final = 64
"""The most rows that the filter judges together; fewer if the writer at the other end waits for an answer."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("classify")(_classify)


def _classify(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="Completions, in any format that `score` reads; - is stdin.", show_default=False
        ),
    ] = None,
    prompt: PromptOption = None,
    response: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="What it said; without it, completions are read: of FILE, or JSON lines from stdin."
        ),
    ] = None,
    subcategory: SubcategoryOption = None,
    category: CategoryOption = None,
    subset: SubsetOption = None,
    suite: Suite = "auto",
    model: Model = None,
    tier: Tier = "auto",
    threads: Threads = None,
    on_error: Annotated[OnError, typer.Option(help="Filter: what to do with a row that cannot be used.")] = "fail",
) -> None:
    """Judge one response and print the verdict as JSON; or be a filter from JSON lines to verdicts.

    Example: refusal-clf classify --prompt "How do I kill a Python process?" --response "I can't help with that."

    As a filter: refusal-clf classify < completions.jsonl > verdicts.jsonl
    """
    from refusal_clf.classifier import RefusalClassifier

    if response is None and any(value is not None for value in (prompt, subcategory, category, subset)):
        raise InputError("--response is missing (without any text, completions are read from a file or standard input)")
    if response is not None and file is not None:
        raise InputError("--response is one response: leave it or the file out", file=file)
    clf = RefusalClassifier.load(model, threads=threads)
    if response is not None:
        completion = completion_of(prompt, response, suite, subset, category, subcategory)
        _write(clf.predict([completion], tier=tier))
        return
    source = file or Path(STDIN)
    if str(source) == STDIN and sys.stdin.isatty():
        say("reading JSON lines from the terminal; Ctrl-D ends them")
    try:
        for batch in as_they_come(_rows(source, suite, on_error), BATCH):
            _write(clf.predict(batch, tier=tier))
    except (KeyboardInterrupt, BrokenPipeError) as stop:
        # The reader may be waiting for input with the lock of standard input in its hands; an orderly exit would
        # abort on that lock. Every line that was written is flushed.
        os._exit(130 if isinstance(stop, KeyboardInterrupt) else 141)


def as_they_come(items: Iterable[_T], most: int) -> Iterator[list[_T]]:
    """Yield what is there in batches of at most `most`, waiting only while there is nothing.

    A fast source is judged in full batches, and someone who types a line gets its answer at once. An error of
    the source is raised after the items before it were yielded.
    """
    arrived: queue.Queue[_T | BaseException | None] = queue.Queue(maxsize=2 * most)

    def read() -> None:
        try:
            for item in items:
                arrived.put(item)
        except BaseException as error:  # raised again where the batches are taken
            arrived.put(error)
        else:
            arrived.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        batch: list[_T] = []
        item = arrived.get()
        while item is not None and not isinstance(item, BaseException):
            batch.append(item)
            if len(batch) == most or arrived.empty():
                break
            item = arrived.get()
        if batch:
            yield batch
        if isinstance(item, BaseException):
            raise item
        if item is None:
            return


def _rows(file: Path, suite: SuiteChoice, on_error: OnError) -> Iterator[Completion]:
    from refusal_clf.reading import read_completions

    def report(row: SkippedRow) -> None:
        say(f"{name_of(file)}:{row.line}: skipped: {row.reason}")

    return read_completions(file, suite=suite, on_error=on_error, skipped=report, metadata=metadata_of(suite))


def _write(verdicts: Iterable[Verdict]) -> None:
    for verdict in verdicts:
        sys.stdout.write(json.dumps(verdict.to_dict()) + "\n")
    sys.stdout.flush()
