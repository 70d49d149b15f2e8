"""`refusal-clf info`: which model, which versions, which machine resources."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from refusal_clf.cli.choices import Model, Threads

if TYPE_CHECKING:
    from refusal_clf.classifier import RefusalClassifier
    from refusal_clf.cli.configuration import Configuration


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("info")(_info)


def _info(
    context: typer.Context,
    model: Model = None,
    threads: Threads = None,
    output_format: Annotated[Literal["table", "json"], typer.Option("--format", help="How to print it.")] = "table",
) -> None:
    """Print the version, the model with its checksum and provenance, what runs it, and which settings are in force.

    Example: refusal-clf info --format json
    """
    from refusal_clf.classifier import RefusalClassifier

    facts = _facts(RefusalClassifier.load(model, threads=threads)) | _settings(context)
    if output_format == "json":
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in _lines(facts):
        typer.echo(f"{name:<24} {value}".rstrip())


def _settings(context: typer.Context) -> dict[str, Any]:
    """Return the configuration file and the variables that decide options; the file's is null if there is none."""
    from refusal_clf.cli.variables import environment

    configuration: Configuration | None = context.obj
    return {
        "configuration": None
        if configuration is None
        else {"file": str(configuration.file), "settings": configuration.given},
        "environment": environment(context.find_root().command),
    }


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


def _flat(settings: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"  {path}{key}", value


def _lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what fits a screen, a name and a value each; long provenance is counted here and whole in JSON."""
    from refusal_clf.report.escaping import printable

    model, configuration = facts["model"], facts["configuration"]
    shown = {name: value for name, value in facts.items() if name not in ("model", "configuration", "environment")}
    shown["configuration"] = configuration["file"] if configuration else "no file"
    shown |= dict(_flat(configuration["settings"])) if configuration else {}
    shown |= facts["environment"]
    shown |= {f"model {name}": value for name, value in model.items() if name not in ("labels", "provenance")}
    shown |= {f"{family} labels": names for family, names in model["labels"].items()}
    shown |= {name.replace("_", " "): value for name, value in model["provenance"].items()}
    for name, value in shown.items():
        if isinstance(value, dict):
            text = f"{len(value)} entries (--format json lists them)"
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        indent = "  " if name.startswith("  ") else ""
        yield indent + printable(name), printable(text, limit=400)
