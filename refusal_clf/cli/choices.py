"""Options that several commands share: their values, and what `--suite` brings with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from refusal_clf.cli.variables import variable
from refusal_clf.records import Completion

if TYPE_CHECKING:
    from refusal_clf.suites import SuiteMetadata

SuiteChoice = Literal["auto", "coconot", "xstest", "generic"]
TierChoice = Literal["auto", "fast", "full"]
OnError = Literal["fail", "skip"]


def complete_model(incomplete: str) -> list[str]:
    """Return the packaged models whose names begin so; of none, the shell goes on with its own, the directories."""
    from refusal_clf.model_directories import available_models

    return [name for name in available_models() if name.startswith(incomplete)]


def complete_subset(incomplete: str) -> list[str]:
    """Return the subsets of the known suites that begin so."""
    from refusal_clf.suites import SUITES

    return [name for suite in SUITES.values() for name in suite.subsets if name.startswith(incomplete)]


Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|DIR",
        help="A packaged model or a directory.",
        envvar=variable("model"),
        autocompletion=complete_model,
    ),
]
Tier = Annotated[
    TierChoice, typer.Option(help="fast: lexical only; full: always the encoder.", envvar=variable("tier"))
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads; default: all that may be used.", envvar=variable("threads"))
]
Suite = Annotated[
    SuiteChoice, typer.Option(help="The benchmark; auto: what the rows themselves tell.", envvar=variable("suite"))
]
Subset = Annotated[
    str | None,
    typer.Option(
        metavar="original|contrast",
        help="The subset of all rows, whatever they say.",
        envvar=variable("subset"),
        autocompletion=complete_subset,
    ),
]
Format = Annotated[
    Literal["table", "json", "markdown"],
    typer.Option("--format", help="What is printed on standard output.", envvar=variable("format")),
]
"""Options of the commands that score. Each means the same in all of them, and so has a variable without the command's
name (`cli.variables`) and a place at the top of a configuration file."""

UnusableRows = Annotated[OnError, typer.Option("--on-error", help="What to do with a row that cannot be used.")]
"""Of `score` and `judge`."""

PromptOption = Annotated[str | None, typer.Option("--prompt", metavar="TEXT", help="What the model was asked.")]
ResponseOption = Annotated[str | None, typer.Option("--response", metavar="TEXT", help="What it said.")]
SubcategoryOption = Annotated[
    str | None,
    typer.Option("--subcategory", help="CoCoNot subcategory, whose rubric decides; default: the generic rubric."),
]
CategoryOption = Annotated[str | None, typer.Option("--category", help="CoCoNot category; repeated in the verdict.")]
SubsetOption = Annotated[
    Literal["original", "contrast"] | None,
    typer.Option("--subset", help="CoCoNot subset: should the request be declined (original) or answered (contrast)?"),
]
"""Of `classify` and `explain`: one completion."""

ApiKeyEnv = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The variable with the key. (default: OPENAI_API_KEY for OpenAI and Azure)"),
]
Concurrency = Annotated[int, typer.Option(min=1, max=256, metavar="N", help="Requests in flight at the endpoint.")]
Timeout = Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How long an answer may take.")]
"""Of `judge` and `generate`, which ask an endpoint. Its address and the longest answer differ: a judge has a default
address where `generate` runs a directory, and must have room to reason."""

Report = Annotated[
    Literal["html"] | None, typer.Option("--report", help="html: also write report.html, one file, to --out.")
]

ScoredFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="Completions (- is stdin), or a results folder (or verdicts.jsonl) of `score`."
    ),
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


def completion_of(
    prompt: str | None,
    response: str,
    suite: SuiteChoice,
    subset: str | None,
    category: str | None,
    subcategory: str | None,
) -> Completion:
    """Return the completion that options describe."""
    return Completion(
        prompt=prompt or "",
        response=response,
        suite="generic" if suite == "auto" else suite,
        subset=subset,
        category=category,
        subcategory=subcategory,
    )


def metadata_of(suite: SuiteChoice) -> SuiteMetadata | None:
    """Return the prompts that rows are joined with, if they are at hand; under `auto` those of CoCoNot.

    CoCoNot is the suite whose verdicts depend on metadata: the subcategory chooses the rubric.
    """
    from refusal_clf.suites import load_suite

    return load_suite("coconot" if suite == "auto" else suite)
