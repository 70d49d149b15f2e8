"""`calibrate --refit`: a model directory whose probabilities fit the labels better, where they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from refusal_clf.cli.choices import TierChoice
from refusal_clf.cli.labels import label_files
from refusal_clf.cli.progress import say
from refusal_clf.records import InputError, Label

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from refusal_clf.calibration.assessment import Target
    from refusal_clf.calibration.matching import Scored
    from refusal_clf.calibration.refitting import Refit
    from refusal_clf.classifier import RefusalClassifier

_HEADS: Final[tuple[Target, ...]] = ("verdict", "refusal")


def check_refit(file: Path, out: Path) -> None:
    """Raise `InputError` if `file` holds results, whose probabilities are rounded and incomplete, or `out` is taken."""
    if file.is_dir():
        raise _results(file)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("--refit writes a new model directory, and this exists", file=out)


def fit_heads(
    file: Path,
    clf: RefusalClassifier | None,
    scored: Sequence[Scored],
    rows: Mapping[int, Label],
    tier: TierChoice,
) -> dict[Target, Refit]:
    """Return the fit of each head that has enough labels; "verdict" comes first.

    Parameters
    ----------
    file
        What `scored` was read from.
    clf, tier
        What scored it; None where verdicts were read.
    rows
        Place in `scored` -> label (`matching.match`).

    Raises
    ------
    InputError
        If there are only verdicts, or no head has enough labels.
    """
    import numpy as np

    from refusal_clf.calibration.assessment import NAMES, label_index
    from refusal_clf.calibration.refitting import LEAST_LABELS, refit

    if clf is None:
        raise _results(file)
    told = sorted(rows)
    labelled = {head: [place for place in told if label_index(rows[place], head) is not None] for head in _HEADS}
    most = max(map(len, labelled.values()))
    if most < LEAST_LABELS:
        raise InputError(f"{most} labels are too few to refit probabilities: it takes {LEAST_LABELS} of one kind")
    held = ((place, scored[place].completion) for place in told)
    completions = {place: completion for place, completion in held if completion is not None}
    probabilities = clf.probabilities(completions.values(), tier=tier).astype(np.float64)
    line_of = {place: line for line, place in enumerate(completions)}
    fits: dict[Target, Refit] = {}
    first = 0
    for head in _HEADS:
        columns = slice(first, first + len(NAMES[head]))
        first = columns.stop
        places = labelled[head]
        if len(places) >= LEAST_LABELS:
            truth = np.array([label_index(rows[place], head) for place in places], np.int64)
            fits[head] = refit(
                probabilities[[line_of[place] for place in places], columns],
                truth,
                _weights(scored, rows, places, truth),
                [completions[place].prompt for place in places],
            )
    return fits


def write_refit(
    out: Path, clf: RefusalClassifier, fits: Mapping[Target, Refit], *, judge: str, places: Sequence[str]
) -> None:
    """Say what the fits are worth, and write the model with those that improve on it, if any does.

    Parameters
    ----------
    out
        Where the model is written.
    fits
        What `fit_heads` returned.
    judge, places
        Whose labels they are of, and the labels' files as the user gave them.
    """
    from refusal_clf.baseline import replacing_folder
    from refusal_clf.runtime.layout import sha256_of
    from refusal_clf.runtime.tempering import write_tempered

    for head, fit in fits.items():
        say(_describe(head, fit))
    better: dict[str, Refit] = {head: fit for head, fit in fits.items() if fit.improves}
    if not better:
        say("no model written: on labels held out, no temperature is better by more than chance would make it")
        return
    files = [path for place in places for path in label_files(place)[0]]
    provenance = {
        "of": {"name": clf.name, "sha256": clf.sha256},
        "judge": judge,
        "labels": {path.name: sha256_of(path) for path in files},
        "heads": {head: asdict(fit) for head, fit in better.items()},
    }
    temperatures = {head: fit.temperature for head, fit in better.items()}
    with replacing_folder(out) as folder:
        write_tempered(clf.directory, folder, clf.config, temperatures, provenance)
    say(f"wrote the model with refitted {' and '.join(better)} probabilities in {out}: score with --model {out}")


def _results(file: Path) -> InputError:
    return InputError("--refit needs the completions: results hold rounded probabilities", file=file)


def _weights(
    scored: Sequence[Scored], rows: Mapping[int, Label], places: Sequence[int], truth: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return how many completions each labelled one stands for, by the way in which the labels were drawn."""
    from refusal_clf.calibration.design import weigh
    from refusal_clf.calibration.matching import counting
    from refusal_clf.calibration.sampling import stratum_of

    used = counting(scored)
    row_of = {place: row for row, place in enumerate(used)}
    strata = [stratum_of(scored[place].verdict.subset, scored[place].verdict.subcategory) for place in used]
    sample, _, _ = weigh(strata, [row_of[place] for place in places], truth, [rows[place].sampled for place in places])
    return sample.weight


def _describe(head: str, fit: Refit) -> str:
    before, after = fit.before, fit.after
    return (
        f"{head}: temperature {fit.temperature:.3f} from {fit.n} labels; cross-fitted "
        f"log loss {before.log_loss:.4f} -> {after.log_loss:.4f} (gain's standard error {fit.gain_error:.4f}), "
        f"Brier {before.brier:.4f} -> {after.brier:.4f}, ECE {before.ece:.4f} -> {after.ece:.4f}"
    )
