"""`refusal-clf compare`: models or checkpoints side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refusal_clf.cli.choices import Format, Model, Report, Subset, Suite, Threads, Tier
from refusal_clf.cli.progress import say
from refusal_clf.cli.runs import RunReader
from refusal_clf.records import InputError

if TYPE_CHECKING:
    from refusal_clf.pairing import Item


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("compare")(_compare)


def _compare(
    context: typer.Context,
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Results folders of `score`, or files of completions.")
    ],
    suite: Suite = "auto",
    subset: Subset = None,
    model: Model = None,
    tier: Tier = "auto",
    threads: Threads = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write compare.json here.")] = None,
    output_format: Format = "table",
    report: Report = None,
) -> None:
    """Show models or checkpoints side by side, each compared with the first, paired by item.

    Example: refusal-clf compare results/step-1000 results/step-2000 results/step-3000

    A run that names several models is shown as one run for each of them.
    """
    from refusal_clf.report.sheets import print_sheets, sheets_markdown
    from refusal_clf.report.side_by_side import sheets
    from refusal_clf.side_by_side import COMPARE_FILE, side_by_side
    from refusal_clf.writing import write_json

    if report is not None and out is None:
        raise InputError("--report needs --out")
    for path in runs:
        if not path.exists():
            raise InputError("no such results folder or file", file=path)
    reader = RunReader(suite, subset, model, tier, threads)
    reader.check_used(context, *runs)
    found = _read(runs, reader)
    compared = side_by_side(found)
    if output_format == "json":
        typer.echo(json.dumps(compared.to_dict(), indent=2))
    elif output_format == "markdown":
        typer.echo(sheets_markdown(sheets(compared)), nl=False)
    else:
        print_sheets(sheets(compared))
    if out is not None:
        write_json(out / COMPARE_FILE, compared.to_dict())
        say(f"wrote {out / COMPARE_FILE}")
        if report is not None:
            from refusal_clf.cli.pages import write_compare_page

            say(f"wrote {write_compare_page(out, compared, found)}")


def _read(paths: list[Path], reader: RunReader) -> dict[str, tuple[Item, ...]]:
    """Return the items of each run by its name; a model's name is added where a run holds several."""
    found: dict[str, tuple[Item, ...]] = {}
    judged = set()
    for path in paths:
        run = reader.read(path)
        judged.add(run.sha256)
        by_model: dict[str | None, list[Item]] = {}
        for item in run.items:
            by_model.setdefault(item.verdict.model, []).append(item)
        for model, items in by_model.items():
            name = path.name if len(by_model) == 1 else f"{path.name} · {model or '(no model named)'}"
            # Folders of one name in several places are told apart by the place.
            found[name if name not in found else f"{path.parent.name}/{name} ({len(found) + 1})"] = tuple(items)
    if len(judged) > 1:
        say("note: the runs were judged by different classifiers: a difference may be theirs")
    return found
