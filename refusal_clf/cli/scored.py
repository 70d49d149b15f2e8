"""The file that labels are held against: completions, scored here, or the results of an earlier `score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from refusal_clf.cli.bar import progress
from refusal_clf.cli.choices import SuiteChoice, TierChoice, metadata_of
from refusal_clf.cli.variables import typed
from refusal_clf.records import InputError
from refusal_clf.streams import STDIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from refusal_clf.calibration.matching import Scored
    from refusal_clf.classifier import RefusalClassifier
    from refusal_clf.records import Completion


def read_scored(
    context: typer.Context,
    file: Path,
    suite: SuiteChoice,
    subset: str | None,
    model: str | None,
    tier: TierChoice,
    threads: int | None,
) -> tuple[list[Scored], RefusalClassifier | None]:
    """Return every completion of a file with its verdict, and the classifier if one was needed.

    Parameters
    ----------
    context
        Of the command.
    file
        A results folder of `score`, its verdicts.jsonl, or completions in any format that `score` reads; "-" is
        standard input, with completions as JSON lines.
    suite, subset, model, tier, threads
        How completions are scored; for results they have no meaning, and may not be typed.

    Raises
    ------
    InputError
        If the file is unusable, or one of them was typed for results.
    """
    from refusal_clf.calibration.matching import Scored
    from refusal_clf.writing import read_verdicts

    if file.is_dir() or (str(file) != STDIN and _holds_verdicts(file)):
        refuse_typed(context, file)
        scored = [Scored(verdict) for verdict in read_verdicts(file)]
        if any(one.verdict.tier == "judge" for one in scored):
            raise InputError("holds verdicts of a judge, not the classifier's alone: give the completions", file=file)
        return scored, None
    from refusal_clf.classifier import RefusalClassifier
    from refusal_clf.reading import read_completions

    clf = RefusalClassifier.load(model, threads=threads)
    completions = list(read_completions(file, suite=suite, subset=subset, metadata=metadata_of(suite)))
    return score_all(completions, clf, tier), clf


def refuse_typed(context: typer.Context, file: Path | None) -> None:
    """Raise `InputError` if an option of scoring was typed although what is read holds verdicts."""
    if useless := typed(context, "suite", "subset", "model", "tier", "threads"):
        raise InputError(f"holds verdicts already: {useless[0]} has no meaning for them", file=file)


def score_all(completions: Iterable[Completion], clf: RefusalClassifier, tier: TierChoice) -> list[Scored]:
    """Score completions with a progress bar."""
    from refusal_clf.calibration.matching import Scored, text_key

    held = list(completions)
    scored = []
    with progress("scoring", len(held), 0) as advance:
        for completion, verdict in zip(held, clf.stream(held, tier=tier), strict=True):
            scored.append(Scored(verdict, text_key(completion), completion))
            advance(1)
    return scored


def facts_of(clf: RefusalClassifier | None) -> dict[str, Any]:
    """Return the classifier's name and checksum; both None where verdicts were read."""
    return {"name": clf.name if clf else None, "sha256": clf.sha256 if clf else None}


def _holds_verdicts(file: Path) -> bool:
    from refusal_clf.formats import Row, read_rows

    first = next(read_rows(file))
    return isinstance(first, Row) and {"p_noncompliance", "tier", "flags"} <= set(first.values)
