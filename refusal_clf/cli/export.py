"""`refusal-clf export`: a training directory in, an ONNX model directory out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refusal_clf.cli.extras import need
from refusal_clf.cli.progress import say
from refusal_clf.streams import check_readable


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("export")(_export)


def _export(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="A training directory that `train` wrote.")],
    out: Annotated[Path, typer.Option(help="The model directory to write; `--model` takes it afterwards.")],
    evaluation: Annotated[
        Path | None, typer.Option(help="Output directory of `evaluate`: its figures go into the model card.")
    ] = None,
    notes: Annotated[
        Path | None, typer.Option(help="A Markdown file that the model card takes in, such as what the errors are.")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise to 8 bits: a quarter of the size, and faster.")
    ] = False,
) -> None:
    """Export a trained model to ONNX and check it against PyTorch.

    Example: refusal-clf export runs/mine --out models/mine --int8
    """
    need("train", "torch", "transformers", "onnx")
    from refusal_clf.locking import locked
    from refusal_clf.training.card import read_evaluation
    from refusal_clf.training.export import export

    figures = None if evaluation is None else read_evaluation(evaluation)
    if notes is not None:
        check_readable(notes)
    text = None if notes is None else notes.read_text(encoding="utf-8")
    with locked(out):
        parity = export(source, out, int8=int8, evaluation=figures, notes=text, report=say)
    if int8:
        say(
            f"int8 against PyTorch on random texts: {parity.verdict_flips:.1%} of the encoder's verdicts and "
            f"{parity.refusal_flips:.1%} of its refusal classes change"
        )
    say(f"wrote {out}; try: refusal-clf score FILE --model {out}")
