"""`refusal-clf train`: labels in, a training directory out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refusal_clf.cli.choices import Base, Epochs, FamilyChoice, FrozenLayers, LabelPaths, LearningRate, MaxTokens, Seed
from refusal_clf.cli.extras import need
from refusal_clf.cli.progress import say


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("train")(_train)


def _train(
    labels: LabelPaths,
    base: Base,
    out: Annotated[Path, typer.Option(help="The training directory to write.")],
    name: Annotated[str, typer.Option(help="The model's name, as `info` and summaries show it.")] = "my-refusal-clf",
    calibration_from: Annotated[
        Path | None, typer.Option(help="Output of `evaluate`: calibrate on its out-of-fold scores.")
    ] = None,
    family: FamilyChoice = "encoder",
    epochs: Epochs = 3,
    learning_rate: LearningRate = 2e-4,
    frozen_layers: FrozenLayers = 1,
    max_tokens: MaxTokens = 160,
    vocabulary: Annotated[
        int | None, typer.Option(min=1000, help="Keep this many word pieces, for a smaller file; default: all.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Fine-tune a classifier on labels: the encoder with two heads, and the lexical tier beside it.

    A run that was cut off goes on from its last finished epoch when called again with the same --out.

    Example: refusal-clf train data/synthetic --base all-MiniLM-L6-v2 --out runs/mine
    """
    need("train", "torch", "transformers", "sklearn")
    from refusal_clf.locking import locked
    from refusal_clf.runtime.tokens import TokenBudget
    from refusal_clf.training.crossfit import load_out_of_fold
    from refusal_clf.training.dataset import digest, label_files, load_examples
    from refusal_clf.training.finetune import FinetuneConfig
    from refusal_clf.training.release import train

    examples = load_examples(labels)
    say(f"{len(examples)} labelled completions")
    with locked(out):
        train(
            examples,
            base,
            out,
            name=name,
            config=FinetuneConfig(epochs=epochs, learning_rate=learning_rate, frozen_layers=frozen_layers, seed=seed),
            budget=TokenBudget(total=max_tokens),
            held_out=None if calibration_from is None else load_out_of_fold(calibration_from),
            data=digest(label_files(labels)),
            report=say,
            family=family,
            vocabulary=vocabulary,
        )
    say(f"wrote {out}; next: refusal-clf export {out} --out MODEL_DIR --int8")
