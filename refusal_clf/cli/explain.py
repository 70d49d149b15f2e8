"""`refusal-clf explain`: which words of a response decided its verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from refusal_clf.cli.choices import (
    CategoryOption,
    Model,
    PromptOption,
    ResponseOption,
    SubcategoryOption,
    SubsetOption,
    Suite,
    SuiteChoice,
    Threads,
    Tier,
    completion_of,
    metadata_of,
)
from refusal_clf.records import Completion, InputError

if TYPE_CHECKING:
    from refusal_clf.precedents import Precedent


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("explain")(_explain)


def _explain(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Completions, one of which is explained.")
    ] = None,
    item: Annotated[str | None, typer.Option("--id", metavar="ID", help="Which completion of FILE.")] = None,
    prompt: PromptOption = None,
    response: ResponseOption = None,
    subcategory: SubcategoryOption = None,
    category: CategoryOption = None,
    subset: SubsetOption = None,
    suite: Suite = "auto",
    head: Annotated[
        Literal["verdict", "refusal"], typer.Option("--of", help="Whose deciding words are marked.")
    ] = "verdict",
    precedents: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE[:COLUMN]", help="Labels with responses: the three most similar are shown."),
    ] = None,
    model: Model = None,
    tier: Tier = "auto",
    threads: Threads = None,
    output_format: Annotated[Literal["text", "json"], typer.Option("--format", help="How to print it.")] = "text",
) -> None:
    """Show which words of a response decided its verdict and its refusal class.

    Example: refusal-clf explain completions.jsonl --id item-17

    Or: refusal-clf explain --prompt "How do I kill a Python process?" --response "I can't help with that."

    JSON has spans: start and end in characters of the response, and what each adds to the log-odds of both answers.
    """
    from refusal_clf.classifier import RefusalClassifier
    from refusal_clf.cli.labels import labels_in
    from refusal_clf.explanation import explain
    from refusal_clf.precedents import nearest

    if (file is None) == (response is None):
        raise InputError("give a FILE with --id, or --response")
    if response is not None and item is not None:
        raise InputError("--id chooses a completion of a FILE: it has no meaning beside --response")
    if file is not None and any(value is not None for value in (prompt, subcategory, category)):
        raise InputError("--prompt, --category and --subcategory belong to --response; a FILE's rows have their own")
    completion = (
        _find(file, item, suite, subset)
        if file is not None
        else completion_of(prompt, response or "", suite, subset, category, subcategory)
    )
    clf = RefusalClassifier.load(model, threads=threads)
    explanation = explain(completion, clf, tier=tier)
    similar = nearest(completion, labels_in(precedents), clf.lexical) if precedents else []
    if output_format == "json":
        document = explanation.to_dict()
        if precedents:
            document["precedents"] = [_row(precedent) for precedent in similar]
        typer.echo(json.dumps(document, indent=2))
    else:
        from refusal_clf.report.explanation import print_explanation

        print_explanation(explanation, similar, head=head)


def _find(file: Path, item: str | None, suite: SuiteChoice, subset: str | None) -> Completion:
    from refusal_clf.reading import read_completions

    if item is None:
        raise InputError("give the --id of a completion of the file")
    rows = read_completions(file, suite=suite, subset=subset, metadata=metadata_of(suite))
    found = [completion for completion in rows if completion.id == item]
    if not found:
        raise InputError(f"no completion has the id '{item}'", file=file)
    if len(found) > 1:
        whose = ", ".join(" ".join(filter(None, (one.model, one.suite, one.subset))) for one in found)
        raise InputError(
            f"{len(found)} completions have the id '{item}' ({whose}): give a file that has one", file=file
        )
    return found[0]


def _row(precedent: Precedent) -> dict[str, Any]:
    label = precedent.label
    return {
        "similarity": round(precedent.similarity, 4),
        "id": label.completion.id,
        "prompt": label.completion.prompt,
        "response": label.completion.response,
        "verdict": label.verdict,
        "refusal": label.refusal,
        "judge": label.judge,
    }
