"""`calibrate --refit`: a model directory whose probabilities fit the labels better, where they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from refusal_clf.cli.choices import SuiteChoice, TierChoice, metadata_of
from refusal_clf.cli.labels import label_files
from refusal_clf.cli.progress import say
from refusal_clf.records import InputError, Label
from refusal_clf.streams import STDIN

if TYPE_CHECKING:
    from refusal_clf.calibration.assessment import Target
    from refusal_clf.calibration.matching import Scored
    from refusal_clf.calibration.refitting import Refit
    from refusal_clf.classifier import RefusalClassifier

_HEADS: Final[tuple[Target, ...]] = ("verdict", "refusal")


def check_refit(file: Path, out: Path, clf: RefusalClassifier | None) -> RefusalClassifier:
    """Return the classifier that can be refitted.

    Raises
    ------
    InputError
        If there are only verdicts, whose probabilities are rounded and incomplete, or `out` is taken.
    """
    if clf is None or str(file) == STDIN:
        raise InputError("--refit needs a file of completions: results and standard input cannot be scored again")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("--refit writes a new model directory, and this exists", file=out)
    return clf


def refit_model(
    file: Path,
    out: Path,
    clf: RefusalClassifier,
    scored: Sequence[Scored],
    rows: Mapping[int, Label],
    *,
    places: Sequence[str],
    suite: SuiteChoice,
    subset: str | None,
    tier: TierChoice,
) -> None:
    """Fit a temperature to each head that has enough labels; write the model where that helps, and say what it does.

    Parameters
    ----------
    file, suite, subset, tier
        How `scored` was read and scored.
    out
        Where the model is written.
    rows
        Place in `scored` -> label (`matching.match`).
    places
        The labels' files, as the user gave them.

    Raises
    ------
    InputError
        If no head has enough labels.
    """
    from refusal_clf.baseline import replacing_folder
    from refusal_clf.reading import read_completions
    from refusal_clf.runtime.layout import sha256_of
    from refusal_clf.runtime.tempering import write_tempered

    completions = list(read_completions(file, suite=suite, subset=subset, metadata=metadata_of(suite)))
    told = sorted(rows)
    probabilities = clf.probabilities([completions[place] for place in told], tier=tier).astype(np.float64)
    prompts = [completions[place].prompt for place in told]
    fits = _fits(scored, rows, told, probabilities, prompts)
    for head, fit in fits.items():
        say(_describe(head, fit))
    better = {head: fit for head, fit in fits.items() if fit.improves}
    if not better:
        say("no model written: on labels held out, the probabilities are no better at another temperature")
        return
    files = [path for place in places for path in label_files(place)[0]]
    provenance = {
        "of": {"name": clf.name, "sha256": clf.sha256},
        "judge": rows[told[0]].judge,
        "labels": {path.name: sha256_of(path) for path in files},
        "heads": {head: asdict(fit) for head, fit in better.items()},
    }
    with replacing_folder(out) as folder:
        temperatures: dict[str, float] = {head: fit.temperature for head, fit in better.items()}
        write_tempered(clf.directory, folder, clf.config, temperatures, provenance)
    say(f"wrote the model with refitted {' and '.join(better)} probabilities in {out}: score with --model {out}")


def _fits(
    scored: Sequence[Scored],
    rows: Mapping[int, Label],
    told: Sequence[int],
    probabilities: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    prompts: Sequence[str],
) -> dict[Target, Refit]:
    from refusal_clf.calibration.assessment import NAMES, label_index
    from refusal_clf.calibration.design import weigh
    from refusal_clf.calibration.matching import counting
    from refusal_clf.calibration.refitting import LEAST_LABELS, refit
    from refusal_clf.calibration.sampling import stratum_of

    used = counting(scored)
    row_of = {place: row for row, place in enumerate(used)}
    strata = [stratum_of(scored[place].verdict.subset, scored[place].verdict.subcategory) for place in used]
    fits: dict[Target, Refit] = {}
    first, most = 0, 0
    for head in _HEADS:
        columns = slice(first, first + len(NAMES[head]))
        first = columns.stop
        indices = [label_index(rows[place], head) for place in told]
        labelled = [at for at, index in enumerate(indices) if index is not None]
        most = max(most, len(labelled))
        if len(labelled) < LEAST_LABELS:
            continue
        truth = np.array([indices[at] for at in labelled], np.int64)
        sampled = [rows[told[at]].sampled for at in labelled]
        sample, _, _ = weigh(strata, [row_of[told[at]] for at in labelled], truth, sampled)
        fits[head] = refit(probabilities[labelled, columns], truth, sample.weight, [prompts[at] for at in labelled])
    if not fits:
        raise InputError(f"{most} labels are too few to refit probabilities: it takes {LEAST_LABELS} of one kind")
    return fits


def _describe(head: str, fit: Refit) -> str:
    before, after = fit.before, fit.after
    return (
        f"{head}: temperature {fit.temperature:.3f} from {fit.n} labels; cross-fitted "
        f"log loss {before.log_loss:.4f} -> {after.log_loss:.4f}, "
        f"Brier {before.brier:.4f} -> {after.brier:.4f}, ECE {before.ece:.4f} -> {after.ece:.4f}"
    )
