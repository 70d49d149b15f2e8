"""`refusal-clf evaluate`: how well a recipe generalises, beside the baselines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from refusal_clf.cli.extras import need
from refusal_clf.cli.progress import say
from refusal_clf.records import InputError, Label


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("evaluate")(_evaluate)


def _evaluate(
    labels: Annotated[list[Path], typer.Argument(help="Labels files, or folders of them (JSONL).")],
    base: Annotated[Path, typer.Option(help="A local BERT-like model directory (transformers).")],
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
    family: Annotated[
        Literal["encoder", "embedding"],
        typer.Option(
            help="encoder: fine-tune it. embedding: keep it frozen and fit a regression on its embeddings, for a few "
            "hundred labels and a minute; epochs, learning rate and frozen layers have no meaning there."
        ),
    ] = "encoder",
    epochs: Annotated[int, typer.Option(min=1, max=50)] = 3,
    learning_rate: Annotated[float, typer.Option(min=1e-7, max=1e-1)] = 2e-4,
    frozen_layers: Annotated[int, typer.Option(min=0, help="Lowest layers that keep their weights.")] = 1,
    max_tokens: Annotated[int, typer.Option(min=64, max=512, help="Word pieces that the encoder reads.")] = 160,
    seed: Annotated[int, typer.Option()] = 0,
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
) -> None:
    """Train on some models (or prompts), test on the others, and print agreement beside TF-IDF and string matching.

    Example: refusal-clf evaluate labels/ --base all-MiniLM-L6-v2 --protocol leave-model-out --out runs/evaluation
    """
    need("train", "torch", "transformers", "sklearn")
    from refusal_clf.report.evaluation import evaluation_markdown, print_evaluation
    from refusal_clf.runtime.tokens import TokenBudget
    from refusal_clf.training.crossfit import EVALUATION_FILE, cross_fit
    from refusal_clf.training.dataset import load_examples
    from refusal_clf.training.finetune import FinetuneConfig
    from refusal_clf.training.protocols import make_folds
    from refusal_clf.training.release import load_base_tokenizer
    from refusal_clf.training.results import figures, rater_answers, slices

    examples = load_examples(labels)
    raters = {name: rater_answers(examples, given) for name, given in _raters(rater or ()).items()}
    splits = make_folds(examples, protocol, folds)
    config = FinetuneConfig(epochs=epochs, learning_rate=learning_rate, frozen_layers=frozen_layers, seed=seed)
    budget = TokenBudget(total=max_tokens)
    scores = cross_fit(examples, splits, base, load_base_tokenizer(base), config, budget, out, say, family)
    document = {
        "schema_version": 1,
        "protocol": protocol,
        "family": family,
        "part": part,
        "n_examples": len(examples),
        "folds": [{"left_out": fold.name, "n_train": len(fold.train), "n_test": len(fold.test)} for fold in splits],
        "results": [figures(data) for data in slices(examples, scores, part=part, raters=raters)],
    }
    text = json.dumps(document, indent=2, ensure_ascii=False)
    (out / EVALUATION_FILE).write_text(text + "\n", encoding="utf-8")
    if output_format == "json":
        typer.echo(json.dumps(document, indent=2))
    elif output_format == "markdown":
        typer.echo(evaluation_markdown(document), nl=False)
    else:
        print_evaluation(document)
    say(f"wrote {out / EVALUATION_FILE}")


def _raters(options: Iterable[str]) -> dict[str, list[Label]]:
    """Read `NAME=FILE[:COLUMN]`; a folder stands for all of its `.jsonl` files, a name given twice for both files."""
    from refusal_clf.reading import read_labels

    found: dict[str, list[Label]] = {}
    for option in options:
        name, _, place = option.partition("=")
        path, _, column = place.rpartition(":")
        if not path or "/" in column:
            path, column = place, ""
        if not name or not place:
            raise InputError(f"--rater is '{option}', not NAME=FILE or NAME=FILE:COLUMN")
        files = sorted(Path(path).glob("*.jsonl")) if Path(path).is_dir() else [Path(path)]
        for file in files:
            found.setdefault(name, []).extend(read_labels(file, column=column or None))
    return found
