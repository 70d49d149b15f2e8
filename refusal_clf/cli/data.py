"""`refusal-clf data`: the prompts of the benchmark suites."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the `data` commands to the application."""
    data = typer.Typer(no_args_is_help=True, help="Fetch the prompts of benchmark suites.")
    data.command("pull")(pull)
    app.add_typer(data, name="data")


def _complete(incomplete: str) -> list[str]:
    from refusal_clf.suites import SUITES

    return [name for name, suite in SUITES.items() if suite.files and name.startswith(incomplete)]


def pull(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The suite: coconot or xstest.", autocompletion=_complete)
    ],
    from_dir: Annotated[
        Path | None,
        typer.Option("--from-dir", metavar="DIR", help="Copy from a local clone of the data; no network is used."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Write there. [default: the user's cache]", show_default=False),
    ] = None,
) -> None:
    """Put a suite's prompts at hand, so that completions find their categories by id or prompt.

    Example: refusal-clf data pull coconot --from-dir noncompliance/data
    """
    from refusal_clf.download import pull as pull_suite

    folder = pull_suite(name, from_dir, to)
    typer.echo(str(folder))
