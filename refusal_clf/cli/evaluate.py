"""`refusal-clf evaluate`: how well a recipe generalises, beside the baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refusal_clf.cli.extras import need


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("evaluate")(_evaluate)


def _evaluate(
    labels: Annotated[list[Path], typer.Argument(help="Labels files, or folders of them (JSONL).")],
    base: Annotated[Path, typer.Option(help="A local BERT-like model directory (transformers).")],
    out: Annotated[Path, typer.Option(help="Where folds, scores and evaluation.json go; finished folds are kept.")],
    protocol: Annotated[str, typer.Option(help="leave-model-out or grouped (by prompt).")] = "leave-model-out",
    folds: Annotated[
        int | None, typer.Option(min=2, help="Folds; default: one for each model, or 5 when grouped.")
    ] = None,
    part: Annotated[
        str,
        typer.Option(help="Report on all prompts, on the dev part (choices) or the test part (releases)."),
    ] = "all",
    epochs: Annotated[int, typer.Option(min=1, max=50)] = 4,
    learning_rate: Annotated[float, typer.Option(min=1e-7, max=1e-1)] = 2e-4,
    frozen_layers: Annotated[int, typer.Option(min=0)] = 1,
    max_tokens: Annotated[int, typer.Option(min=64, max=512)] = 160,
    seed: Annotated[int, typer.Option()] = 0,
    output_format: Annotated[str, typer.Option("--format", help="table, markdown or json.")] = "table",
) -> None:
    """Train on some models (or prompts), test on the others, and print agreement beside TF-IDF and string matching.

    Example: refusal-clf evaluate labels/ --base all-MiniLM-L6-v2 --protocol leave-model-out --out runs/evaluation
    """
    need("train", "torch", "transformers", "sklearn")
    import json

    from refusal_clf.cli.progress import say
    from refusal_clf.records import InputError
    from refusal_clf.report.evaluation import print_evaluation
    from refusal_clf.runtime.tokens import TokenBudget
    from refusal_clf.training.crossfit import cross_fit
    from refusal_clf.training.dataset import load_examples
    from refusal_clf.training.finetune import FinetuneConfig
    from refusal_clf.training.protocols import make_folds
    from refusal_clf.training.release import load_base_tokenizer
    from refusal_clf.training.results import figures, slices

    if part not in ("all", "dev", "test"):
        raise InputError(f"unknown part {part!r} (known: all, dev, test)")
    if output_format not in ("table", "markdown", "json"):
        raise InputError(f"unknown format {output_format!r} (known: table, markdown, json)")
    examples = load_examples(labels)
    splits = make_folds(examples, protocol, folds)
    config = FinetuneConfig(epochs=epochs, learning_rate=learning_rate, frozen_layers=frozen_layers, seed=seed)
    scores = cross_fit(
        examples, splits, base, load_base_tokenizer(base), config, TokenBudget(total=max_tokens), out, say
    )
    document = {
        "schema_version": 1,
        "protocol": protocol,
        "part": part,
        "n_examples": len(examples),
        "folds": [{"left_out": fold.name, "n_train": len(fold.train), "n_test": len(fold.test)} for fold in splits],
        "results": [figures(data) for data in slices(examples, scores, part=part)],
    }
    text = json.dumps(document, indent=2, ensure_ascii=False)
    (out / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    if output_format == "json":
        typer.echo(text)
    else:
        print_evaluation(document, markdown=output_format == "markdown")
    say(f"wrote {out / 'evaluation.json'}")
