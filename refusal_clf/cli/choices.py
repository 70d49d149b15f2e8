"""Options that several commands share: their values, and what `--suite` brings with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from refusal_clf.suites import SuiteMetadata

SuiteChoice = Literal["auto", "coconot", "xstest", "generic"]
TierChoice = Literal["auto", "fast", "full"]
OnError = Literal["fail", "skip"]

Model = Annotated[str | None, typer.Option(metavar="NAME|DIR", help="A packaged model or a directory.")]
Tier = Annotated[TierChoice, typer.Option(help="fast: lexical only; full: always the encoder.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads; default: all that may be used.")]
Suite = Annotated[SuiteChoice, typer.Option(help="The benchmark; auto: what the rows themselves tell.")]
Subset = Annotated[
    str | None, typer.Option(metavar="original|contrast", help="The subset of all rows, whatever they say.")
]
Format = Annotated[
    Literal["table", "json", "markdown"], typer.Option("--format", help="What is printed on standard output.")
]
"""Options of the commands that score."""

Report = Annotated[
    Literal["html"] | None, typer.Option("--report", help="html: also write report.html, one file, to --out.")
]

ScoredFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="Completions, or a results folder (or verdicts.jsonl) of `score`.")
]
JudgeName = Annotated[str | None, typer.Option(metavar="NAME", help="Which judge, if the labels name several.")]
"""Of `calibrate` and `plan`."""

LabelPaths = Annotated[list[Path], typer.Argument(help="Labels files, or folders of them (JSONL).")]
Base = Annotated[Path, typer.Option(help="A local BERT-like model directory (transformers), such as all-MiniLM-L6-v2.")]
FamilyChoice = Annotated[
    Literal["encoder", "embedding"],
    typer.Option(
        "--family",
        help="encoder: fine-tune it. embedding: keep it frozen and fit a regression on its embeddings, for a few "
        "hundred labels; epochs, learning rate and frozen layers have no meaning there.",
    ),
]
Epochs = Annotated[int, typer.Option(min=1, max=50)]
LearningRate = Annotated[float, typer.Option(min=1e-7, max=1e-1)]
FrozenLayers = Annotated[int, typer.Option(min=0, help="Lowest layers that keep their weights.")]
MaxTokens = Annotated[int, typer.Option(min=64, max=512, help="Word pieces that the encoder reads.")]
Seed = Annotated[int, typer.Option()]
"""Options of the commands that train."""


def metadata_of(suite: SuiteChoice) -> SuiteMetadata | None:
    """Return the prompts that rows are joined with, if they are at hand; under `auto` those of CoCoNot.

    CoCoNot is the suite whose verdicts depend on metadata: the subcategory chooses the rubric.
    """
    from refusal_clf.suites import load_suite

    return load_suite("coconot" if suite == "auto" else suite)
