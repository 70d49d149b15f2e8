"""The file that labels are held against: completions, scored here, or the results of an earlier `score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from refusal_clf.cli.bar import progress
from refusal_clf.cli.choices import SuiteChoice, TierChoice, metadata_of
from refusal_clf.records import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from refusal_clf.calibration.matching import Scored
    from refusal_clf.classifier import RefusalClassifier
    from refusal_clf.records import Completion


def read_scored(
    file: Path, suite: SuiteChoice, subset: str | None, model: str | None, tier: TierChoice, threads: int | None
) -> tuple[list[Scored], RefusalClassifier | None]:
    """Return every completion of a file with its verdict, and the classifier if one was needed.

    Parameters
    ----------
    file
        A results folder of `score`, its verdicts.jsonl, or completions in any format that `score` reads.
    suite, subset, model, tier, threads
        How completions are scored; they have no meaning for results.

    Raises
    ------
    InputError
        If the file is unusable, or one of them is given for results.
    """
    from refusal_clf.calibration.matching import Scored
    from refusal_clf.writing import read_verdicts

    if file.is_dir() or _holds_verdicts(file):
        given = {
            "--suite": suite != "auto",
            "--subset": subset is not None,
            "--model": model is not None,
            "--tier": tier != "auto",
            "--threads": threads is not None,
        }
        if useless := [name for name, is_given in given.items() if is_given]:
            raise InputError(f"holds verdicts already: {useless[0]} has no meaning for them", file=file)
        return [Scored(verdict) for verdict in read_verdicts(file)], None
    from refusal_clf.classifier import RefusalClassifier
    from refusal_clf.reading import read_completions

    clf = RefusalClassifier.load(model, threads=threads)
    completions = list(read_completions(file, suite=suite, subset=subset, metadata=metadata_of(suite)))
    return score_all(completions, clf, tier), clf


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
