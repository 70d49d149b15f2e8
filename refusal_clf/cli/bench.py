"""`refusal-clf bench`: how fast the tiers are on this machine."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from refusal_clf.cli.bar import progress
from refusal_clf.cli.choices import Format, Model, Threads, metadata_of
from refusal_clf.cli.source import Source
from refusal_clf.records import InputError

if TYPE_CHECKING:
    from refusal_clf.records import Completion

_SCHEMA_VERSION: Final = 1
_BUSY: Final = 0.5
"""Programs that wait or run, for each processor, before we start: more than that slows what is measured."""


class _Tier(StrEnum):
    """The tiers, from fast to slow: an enumeration, as Typer's repeatable options need one."""

    fast = "fast"
    auto = "auto"
    full = "full"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("bench")(_bench)


def _bench(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Completions, as of `score` (- is stdin). Default: packaged ones."),
    ] = None,
    tier: Annotated[list[_Tier] | None, typer.Option(help="What is measured; repeatable. (default: all three)")] = None,
    rows: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many completions; drawn at random from FILE.")
    ] = 1000,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", help="New processes for each tier.")] = 3,
    model: Model = None,
    threads: Threads = None,
    output_format: Format = "table",
) -> None:
    """Measure speed and memory of each tier on this machine, and say how long CoCoNot and a million rows take.

    Example: refusal-clf bench --tier auto --threads 2

    Without FILE, the packaged sample completions are measured, cut and lengthened to the lengths of real responses. How
    many rows `auto` leaves to the encoder, and so its speed, depends on the responses: give a FILE of yours to know.

    Each figure comes from a new process: one call with all rows, then one by one; reading and writing files is not part
    of it. About a minute on two idle processors.
    """
    from refusal_clf.classifier import RefusalClassifier
    from refusal_clf.machine import describe
    from refusal_clf.speed.measuring import SINGLE, measure

    notes = list(_busy())
    completions = _completions(file, rows)
    clf = RefusalClassifier.load(model, threads=threads)
    tiers = [one.value for one in _Tier if not tier or one in tier]
    with progress("measuring", repeats * len(tiers), rate=False) as advance:
        measured = measure(clf, completions, tiers, repeats, advance)
    characters = sum(len(completion.response) for completion in completions)
    document: dict[str, Any] = {
        "schema_version": _SCHEMA_VERSION,
        "machine": describe(),
        "model": {"name": clf.name, "sha256": clf.sha256},
        "threads": clf.threads,
        "completions": {
            "source": "packaged samples at real lengths" if file is None else file.name,
            "n": len(completions),
            "mean_characters": round(characters / len(completions)),
        },
        "single_calls": min(SINGLE, len(completions)),
        "repeats": repeats,
        "tiers": measured,
        "notes": [*notes, *_short(completions)],
    }
    _print(document, output_format)


def _completions(file: Path | None, rows: int) -> list[Completion]:
    if file is None:
        from refusal_clf.speed.texts import own_completions

        return own_completions(rows)
    from refusal_clf.speed.measuring import draw

    drawn = draw(Source((file,), "auto", None, "fail", metadata_of("auto")).read(), rows)
    if not drawn:
        raise InputError("holds no completions", file=file)
    return drawn


def _busy() -> list[str]:
    """Return a warning if others use the processors; where the system keeps no such count, none."""
    from refusal_clf.runtime.encoder import available_processors

    if not hasattr(os, "getloadavg"):
        return []
    load, processors = os.getloadavg()[0], available_processors()
    if load <= _BUSY * processors:
        return []
    return [f"other programs were busy (load {load:.1f} on {processors} processors): an idle machine is faster"]


def _short(completions: list[Completion]) -> list[str]:
    from refusal_clf.classifier import CHUNK

    if len(completions) >= CHUNK:
        return []
    return [f"{len(completions)} completions are fewer than are scored at once ({CHUNK}): more of them go faster"]


def _print(document: dict[str, Any], output_format: str) -> None:
    if output_format == "json":
        typer.echo(json.dumps(document, indent=2))
    elif output_format == "markdown":
        from refusal_clf.report.speed import speed_markdown

        typer.echo(speed_markdown(document), nl=False)
    else:
        from refusal_clf.report.speed import print_speed

        print_speed(document)
