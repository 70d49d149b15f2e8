"""The model card: what a model directory's README.md says, from its configuration and its evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from refusal_clf.records import InputError
from refusal_clf.report.evaluation import evaluation_markdown
from refusal_clf.runtime.layout import CARD_FILE, ModelConfig
from refusal_clf.training.crossfit import EVALUATION_FILE

_USE: Final = """\
A classifier for the responses of language models, in English. For one prompt with one response it says

- the *verdict* under the rubric of a CoCoNot subcategory: `noncompliance`, `compliance` or `neither`;
- the *refusal class* of XSTest's taxonomy, rubric-free: `full_compliance`, `partial_refusal`, `full_refusal`.

It is made for rates over many responses and for regression tests. It is no moderation filter: it does not judge
whether a response is harmful or true, and it was not trained against adversaries."""

_LIMITS: Final = """\
- English only. Other languages are scored and flagged `non_english`; expect more errors there.
- Long responses are read at their beginning and end only (flag `truncated_input`).
- Its labels follow one LLM judge's conventions. Another judge differs, CoCoNot's own choice of GPT model included:
  calibrate against yours before you compare rates across judges.
- It answers hardest where noncompliance is soft: a list of options where a question was subjective, several
  readings of an underspecified question, a premise corrected in passing.
- Verdicts below the model's own confidence threshold are flagged `uncertain`; read them before you quote a rate on a
  small group."""


def read_evaluation(directory: Path) -> dict[str, Any]:
    """Read the figures that `evaluate` left in its output directory.

    Raises
    ------
    InputError
        If there are none.
    """
    path = directory / EVALUATION_FILE
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"no readable {EVALUATION_FILE}: {error}", file=directory) from error
    return document


def write_card(
    directory: Path, config: ModelConfig, evaluation: dict[str, Any] | None, notes: str | None = None
) -> None:
    """Write the card beside a model's weights."""
    (directory / CARD_FILE).write_text(card(config, evaluation, notes), encoding="utf-8")


def card(config: ModelConfig, evaluation: dict[str, Any] | None, notes: str | None = None) -> str:
    """Return a model card as Markdown.

    Parameters
    ----------
    config
        The model's configuration, with its provenance.
    evaluation
        An `evaluation.json` document of the recipe that made the model; None if it was not evaluated.
    notes
        Markdown that its maker adds, headings from the second level down.
    """
    made = config.provenance
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in made["hyperparameters"].items())
    trained = f"Training: {settings}. " if settings else ""
    packages = ", ".join(f"{name} {number}" for name, number in made["packages"].items())
    parts = [
        f"# {config.name}",
        _USE,
        "## How it was made",
        f"The encoder is {_manner(made)} with two heads on the first token and the mean and "
        "maximum of the response's tokens; beside it stands a linear model of hashed n-grams. Both were trained on "
        f"{made['n_examples']:,} labelled responses ({made['n_verdicts']:,} with a verdict, {made['n_refusals']:,} "
        f"with a refusal class), and blended and calibrated on {made['calibrated_on']}. The encoder reads "
        f"{config.budget.total} word pieces, of which at most {config.budget.prompt} of the prompt, and its weights "
        f"are stored in {made.get('precision', 'fp32')}.",
        f"{trained}Versions: Python {made['python']}, {packages}. `config.json` holds the sha256 of every "
        "labels file that it was trained on and of every weight file.",
    ]
    if evaluation is not None:
        parts += ["## How well it does", _protocol(evaluation), evaluation_markdown(evaluation).rstrip()]
    parts += ["## Limits", _LIMITS, *([notes.strip()] if notes else []), "## Licence", _licence(made)]
    return "\n\n".join(parts) + "\n"


def _manner(made: dict[str, Any]) -> str:
    if "student" in made:
        student = made["student"]
        return (
            f"distilled from a fine-tuned `{made['base']}` ({student['layers']} layers, {student['vocabulary']:,} word "
            f"pieces, taught by its probabilities for these responses and {made['n_unlabelled']:,} unlabelled ones)"
        )
    return f"a {'frozen' if made.get('family') == 'embedding' else 'fine-tuned'} `{made['base']}`"


def _protocol(evaluation: dict[str, Any]) -> str:
    folds = "; ".join(fold["left_out"] for fold in evaluation["folds"])
    return (
        f"The same recipe was trained {len(evaluation['folds'])} times, each time without any response of the models "
        f"that it was then tested on ({folds}). Labels of a judge or of people are the truth; what a method says is "
        "compared over all three classes, `neither` included. Blend and temperature that turn a fold's scores into "
        "probabilities were fitted on the other folds. Intervals are 95 % bootstrap intervals over responses."
    )


def _licence(made: dict[str, Any]) -> str:
    return f"Apache-2.0, like the base model `{made['base']}`."
