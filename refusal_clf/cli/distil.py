"""`refusal-clf distil`: a smaller model from the networks that `evaluate` trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refusal_clf.cli.choices import Epochs, LearningRate, MaxTokens, Seed
from refusal_clf.cli.extras import need
from refusal_clf.cli.progress import say


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("distil")(_distil)


def _distil(
    labels: Annotated[list[Path], typer.Argument(help="The labels that `evaluate` was given.")],
    evaluation: Annotated[Path, typer.Option(help="Output of `evaluate`: its networks are the teachers.")],
    base: Annotated[Path, typer.Option(help="The model directory that `evaluate` started from (its tokenizer).")],
    out: Annotated[Path, typer.Option(help="The training directory to write.")],
    folds: Annotated[int | None, typer.Option(min=2, help="As given to `evaluate`.")] = None,
    fold: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Which folds to distil, each tested on what it left out; repeatable. Default: all."),
    ] = None,
    unlabelled: Annotated[
        list[Path] | None, typer.Option(help="Completions without labels, for the teacher to label; repeatable.")
    ] = None,
    name: Annotated[str, typer.Option(help="The model's name.")] = "my-small-refusal-clf",
    layers: Annotated[int, typer.Option(min=1, help="Layers of the student.")] = 3,
    vocabulary: Annotated[int, typer.Option(min=1000, help="Word pieces of the student.")] = 4000,
    feature_bits: Annotated[
        int, typer.Option(min=10, max=20, help="The lexical tier has 2 to this many features.")
    ] = 15,
    epochs: Epochs = 2,
    learning_rate: LearningRate = 3e-4,
    max_tokens: MaxTokens = 160,
    seed: Seed = 0,
) -> None:
    """Distil each chosen fold's network into fewer layers and word pieces; the last one is the model that is written.

    Every student is tested on the models that its fold left out, and the written one is calibrated on all of these
    scores. Finished folds are kept in --out and used again.

    Example: refusal-clf distil labels/ --evaluation runs/evaluation --base all-MiniLM-L6-v2 --out runs/small
    """
    need("train", "torch", "transformers", "sklearn")
    from refusal_clf.locking import locked
    from refusal_clf.runtime.tokens import TokenBudget
    from refusal_clf.training.dataset import digest, label_files, load_examples, load_unlabelled
    from refusal_clf.training.finetune import FinetuneConfig
    from refusal_clf.training.protocols import make_folds
    from refusal_clf.training.results import evaluate_scores, write_evaluation
    from refusal_clf.training.students import Student, distil_folds

    examples = load_examples(labels)
    splits = make_folds(examples, "leave-model-out", folds)
    chosen = sorted(set(fold or range(1, len(splits) + 1)))
    if chosen[-1] > len(splits):
        raise typer.BadParameter(f"there are {len(splits)} folds, not {chosen[-1]}")
    with locked(out):
        scores = distil_folds(
            examples,
            load_unlabelled(unlabelled or ()),
            [(number, splits[number - 1]) for number in chosen],
            evaluation,
            base,
            out,
            Student(name, layers, vocabulary, feature_bits),
            FinetuneConfig(
                epochs=epochs,
                learning_rate=learning_rate,
                seed=seed,
                frozen_layers=0,
                layer_decay=1.0,
                label_smoothing=0.0,
            ),
            TokenBudget(total=max_tokens),
            digest(label_files(labels)),
            say,
        )
        left_out = [splits[number - 1] for number in chosen]
        document = evaluate_scores(
            examples, scores, left_out, protocol="leave-model-out", family="encoder", part="test"
        )
        write_evaluation(document, out)
    say(f"wrote {out}; next: refusal-clf export {out} --out MODEL_DIR --int8 --evaluation {out}")
