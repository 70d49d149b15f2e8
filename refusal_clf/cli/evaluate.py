"""`refusal-clf evaluate`: how well a recipe generalises, beside the baselines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from refusal_clf.cli.choices import (
    Base,
    Epochs,
    FamilyChoice,
    FrozenLayers,
    LabelPaths,
    LearningRate,
    MaxTokens,
    Report,
    Seed,
)
from refusal_clf.cli.extras import need
from refusal_clf.cli.labels import labels_at
from refusal_clf.cli.progress import say
from refusal_clf.records import InputError, Label


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("evaluate")(_evaluate)


def _evaluate(
    labels: LabelPaths,
    base: Base,
    out: Annotated[Path, typer.Option(help="Where folds, scores and evaluation.json go; finished folds are kept.")],
    protocol: Annotated[
        Literal["leave-model-out", "grouped"], typer.Option(help="What no two folds share: models, or prompts.")
    ] = "leave-model-out",
    folds: Annotated[
        int | None, typer.Option(min=2, help="Folds; default: one for each model, or 5 when grouped.")
    ] = None,
    part: Annotated[
        Literal["all", "dev", "test"],
        typer.Option(help="Report on all prompts, on the dev part (choices) or the test part (releases)."),
    ] = "all",
    family: FamilyChoice = "encoder",
    epochs: Epochs = 3,
    learning_rate: LearningRate = 2e-4,
    frozen_layers: FrozenLayers = 1,
    max_tokens: MaxTokens = 160,
    seed: Seed = 0,
    rater: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE[:COLUMN]",
            help="Labels of another judge for the same rows, joined by model and id, to be compared; repeatable.",
        ),
    ] = None,
    output_format: Annotated[
        Literal["table", "json", "markdown"], typer.Option("--format", help="What is printed on standard output.")
    ] = "table",
    report: Report = None,
) -> None:
    """Train on some models (or prompts), test on the others, and print agreement beside TF-IDF and string matching.

    Example: refusal-clf evaluate labels/ --base all-MiniLM-L6-v2 --protocol leave-model-out --out runs/evaluation
    """
    need("train", "torch", "transformers", "sklearn")
    from refusal_clf.locking import locked
    from refusal_clf.report.evaluation import evaluation_markdown, print_evaluation
    from refusal_clf.runtime.tokens import TokenBudget
    from refusal_clf.training.crossfit import cross_fit
    from refusal_clf.training.dataset import load_examples
    from refusal_clf.training.finetune import FinetuneConfig
    from refusal_clf.training.protocols import make_folds
    from refusal_clf.training.release import load_base_tokenizer
    from refusal_clf.training.results import evaluate_scores, rater_answers, write_evaluation

    examples = load_examples(labels)
    raters = {name: rater_answers(examples, given) for name, given in _raters(rater or ()).items()}
    splits = make_folds(examples, protocol, folds)
    config = FinetuneConfig(epochs=epochs, learning_rate=learning_rate, frozen_layers=frozen_layers, seed=seed)
    budget = TokenBudget(total=max_tokens)
    with locked(out):
        scores = cross_fit(examples, splits, base, load_base_tokenizer(base), config, budget, out, say, family)
        document = evaluate_scores(examples, scores, splits, protocol=protocol, family=family, part=part, raters=raters)
        path = write_evaluation(document, out)
    if output_format == "json":
        typer.echo(json.dumps(document, indent=2))
    elif output_format == "markdown":
        typer.echo(evaluation_markdown(document), nl=False)
    else:
        print_evaluation(document)
    say(f"wrote {path}")
    if report is not None:
        from refusal_clf.cli.pages import write_evaluation_page
        from refusal_clf.training.results import answered_labels, slices

        say(f"wrote {write_evaluation_page(out, document, answered_labels(slices(examples, scores, part=part)))}")


def _raters(options: Iterable[str]) -> dict[str, list[Label]]:
    """Read `NAME=FILE[:COLUMN]`; a folder stands for all of its `.jsonl` files, a name given twice for both files."""
    found: dict[str, list[Label]] = {}
    for option in options:
        name, _, place = option.partition("=")
        if not name or not place:
            raise InputError(f"--rater is '{option}', not NAME=FILE or NAME=FILE:COLUMN")
        found.setdefault(name, []).extend(labels_at(place))
    return found
