"""`refusal-clf calibrate`: a file's verdicts against a judge's labels of a part of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from refusal_clf.cli.choices import (
    Format,
    JudgeName,
    Model,
    Report,
    ScoredFile,
    Subset,
    Suite,
    Threads,
    Tier,
    TierChoice,
)
from refusal_clf.cli.labels import labels_in
from refusal_clf.cli.progress import say
from refusal_clf.cli.scored import facts_of, read_scored, score_all
from refusal_clf.records import InputError, Label

if TYPE_CHECKING:
    from refusal_clf.calibration.assessment import Target
    from refusal_clf.calibration.drift import Comparison, Drift
    from refusal_clf.calibration.matching import Scored
    from refusal_clf.classifier import RefusalClassifier


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("calibrate")(_calibrate)


def _calibrate(
    context: typer.Context,
    file: ScoredFile,
    labels: Annotated[
        list[str],
        typer.Option(
            metavar="FILE[:COLUMN]",
            help="A judge's labels of a part of the completions; repeatable. COLUMN: take refusal classes from it.",
        ),
    ],
    truth: Annotated[
        Literal["judge", "human"], typer.Option(help="Whose labels count; with both, they are compared as well.")
    ] = "judge",
    judge_name: JudgeName = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="FILE[:COLUMN]", help="Earlier labels: has the judge, or have the responses moved?"),
    ] = None,
    suite: Suite = "auto",
    subset: Subset = None,
    model: Model = None,
    tier: Tier = "auto",
    threads: Threads = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write calibration.json here, in the place of an earlier one.")
    ] = None,
    refit: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write the model here with probabilities refitted on the labels, where that helps."
        ),
    ] = None,
    output_format: Format = "table",
    details: Annotated[
        bool, typer.Option("--details/--no-details", help="List subcategories under their categories.")
    ] = False,
    report: Report = None,
) -> None:
    """Turn the classifier's rates into those that a judge would find, from a few hundred of its labels.

    Example: refusal-clf calibrate completions.jsonl --labels labels.jsonl --out results/my-model

    Prints each group's rate by the labels alone, corrected (prediction-powered) and by Rogan and Gladen, the agreement
    with the judge, and whether the classifier's rate can be trusted there.
    """
    from refusal_clf.calibration.assessment import assess, choose_target
    from refusal_clf.calibration.document import CALIBRATION_FILE, calibration_document
    from refusal_clf.calibration.matching import choose_judge, match
    from refusal_clf.cli.refit import check_refit, fit_heads, write_refit

    if report is not None and out is None:
        raise InputError("--report needs --out")
    if refit is not None:
        check_refit(file, refit)
    given = labels_in(labels)
    judge, chosen = choose_judge(given, truth, judge_name)
    target = choose_target(chosen)
    scored, clf = read_scored(context, file, suite, subset, model, tier, threads)
    matches = match(scored, chosen)
    if not matches.rows:
        raise InputError(matches.describe(), file=labels[0])
    # Before anything is printed: it may find that the labels do not suffice.
    fits = {} if refit is None else fit_heads(file, clf, scored, matches.rows, tier)
    document = calibration_document(
        assess(scored, matches.rows, target),
        judge=judge,
        classifier=facts_of(clf),
        matched=matches.describe(),
        human=_against_people(scored, given, judge, matches.rows, target),
        drift=None if against is None else _drift(scored, against, judge, matches.rows, target, clf, tier),
    )
    if output_format == "json":
        typer.echo(json.dumps(document, indent=2))
    elif output_format == "markdown":
        from refusal_clf.report.calibration import calibration_markdown

        typer.echo(calibration_markdown(document, details=details), nl=False)
    else:
        from refusal_clf.report.calibration import print_calibration

        print_calibration(document, details=details)
    if out is not None:
        from refusal_clf.writing import write_json

        write_json(out / CALIBRATION_FILE, document)
        say(f"wrote {CALIBRATION_FILE} in {out}")
        if report is not None:
            from refusal_clf.cli.pages import write_calibration_page

            say(f"wrote {write_calibration_page(out, file.name, document, scored, matches.rows)}")
    if refit is not None and clf is not None:
        write_refit(refit, clf, fits, judge=judge, places=labels)


def _against_people(
    scored: list[Scored], given: list[Label], judge: str, chosen: Mapping[int, Label], target: Target
) -> Comparison | None:
    """Compare the one judge with people where both labelled; with people as truth, the other judge, if there is one."""
    from refusal_clf.calibration.drift import compare
    from refusal_clf.calibration.matching import HUMAN, match

    others = {label.judge for label in given} - {judge}
    other = HUMAN if HUMAN in others else next(iter(others)) if judge == HUMAN and len(others) == 1 else None
    if other is None:
        return None
    rows = match(scored, [label for label in given if label.judge == other]).rows
    return compare(rows, chosen, target) if judge == HUMAN else compare(chosen, rows, target)


def _drift(
    scored: list[Scored],
    against: str,
    judge: str,
    later: Mapping[int, Label],
    target: Target,
    clf: RefusalClassifier | None,
    tier: TierChoice,
) -> Drift:
    """Hold earlier labels against the later ones; their completions are scored here unless they are in the file."""
    from refusal_clf.calibration.drift import Pair, compare, drift
    from refusal_clf.calibration.matching import choose_judge, match

    read = labels_in([against])
    name = judge if any(label.judge == judge for label in read) else None
    _, earlier = choose_judge(read, "human" if judge == "human" else "judge", name)
    in_file = match(scored, earlier)
    pairs = [Pair(label, scored[place].verdict) for place, label in in_file.rows.items()]
    if in_file.n_unmatched and clf is not None:
        matched = {id(label) for label in in_file.rows.values()}
        rest = [label for label in earlier if id(label) not in matched and label.completion.response]
        others = score_all((label.completion for label in rest), clf, tier)
        pairs += [
            Pair(label, one.verdict)
            for label, one in zip(rest, others, strict=True)
            if "empty" not in one.verdict.flags
        ]
    return drift(
        pairs,
        [Pair(label, scored[place].verdict) for place, label in later.items()],
        compare(in_file.rows, later, target),
        target,
        n_unmatched=len(earlier) - len(pairs),
    )
