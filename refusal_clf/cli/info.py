"""`refusal-clf info`: which model, which versions, which machine resources."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from refusal_clf.cli.choices import Model, Threads

if TYPE_CHECKING:
    from refusal_clf.classifier import RefusalClassifier


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("info")(_info)


def _info(
    model: Model = None,
    threads: Threads = None,
    output_format: Annotated[Literal["table", "json"], typer.Option("--format", help="How to print it.")] = "table",
) -> None:
    """Print the version, the model with its checksum and provenance, and what runs it.

    Example: refusal-clf info --format json
    """
    from refusal_clf.classifier import RefusalClassifier

    facts = _facts(RefusalClassifier.load(model, threads=threads))
    if output_format == "json":
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in _lines(facts):
        typer.echo(f"{name:<24} {value}".rstrip())


def _facts(clf: RefusalClassifier) -> dict[str, Any]:
    import platform

    import onnxruntime

    from refusal_clf import __version__

    return {
        "version": __version__,
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "providers": clf.providers,
        "threads": clf.threads,
        "model": {
            "name": clf.name,
            "sha256": clf.sha256,
            "directory": str(clf.directory),
            "labels": {"verdict": list(clf.config.verdict.labels), "refusal": list(clf.config.refusal.labels)},
            "provenance": clf.config.provenance,
        },
    }


def _lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what fits a screen, a name and a value each; long provenance is counted here and whole in JSON."""
    from refusal_clf.report.escaping import printable

    model = facts["model"]
    shown = {name: value for name, value in facts.items() if name != "model"}
    shown |= {f"model {name}": value for name, value in model.items() if name not in ("labels", "provenance")}
    shown |= {f"{family} labels": names for family, names in model["labels"].items()}
    shown |= {name.replace("_", " "): value for name, value in model["provenance"].items()}
    for name, value in shown.items():
        if isinstance(value, dict):
            text = f"{len(value)} entries (--format json lists them)"
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        yield printable(name), printable(text, limit=400)
