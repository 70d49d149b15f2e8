"""`refusal-clf plan`: how many labels of a judge a wanted precision takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from refusal_clf.cli.choices import (
    Format,
    JudgeName,
    Model,
    ScoredFile,
    Subset,
    Suite,
    Threads,
    Tier,
)
from refusal_clf.cli.labels import labels_in
from refusal_clf.cli.scored import facts_of, read_scored
from refusal_clf.records import InputError

if TYPE_CHECKING:
    from refusal_clf.calibration.assessment import Target
    from refusal_clf.calibration.matching import Scored

_BELIEVED = (
    "no labels were given: planned from the classifier's own probabilities, since a model directory keeps no figures "
    "of its validation; on a model that it never saw it may be less sure than it says. Label 50 and give --labels"
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("plan")(_plan)


def _plan(
    file: ScoredFile,
    half_width: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="Wanted half-width of the 95 % interval of the file's rate.")
    ],
    labels: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE[:COLUMN]", help="A pilot: labels that are there already; repeatable."),
    ] = None,
    truth: Annotated[Literal["judge", "human"], typer.Option(help="Whose labels of the pilot count.")] = "judge",
    judge_name: JudgeName = None,
    target: Annotated[
        Literal["verdict", "refusal"], typer.Option(help="What is to be labelled, where there is no pilot.")
    ] = "verdict",
    suite: Suite = "auto",
    subset: Subset = None,
    model: Model = None,
    tier: Tier = "auto",
    threads: Threads = None,
    output_format: Format = "table",
) -> None:
    """Say how many judge calls a precision takes, by each way of drawing, and where they fall.

    Example: refusal-clf plan completions.jsonl --half-width 0.02 --labels pilot.jsonl
    """
    from refusal_clf.calibration.assessment import assess, choose_target
    from refusal_clf.calibration.matching import choose_judge, match

    scored, clf = read_scored(file, suite, subset, model, tier, threads)
    inflation, n_labels, notes = 1.0, 0, [_BELIEVED]
    if labels:
        _, chosen = choose_judge(labels_in(labels), truth, judge_name)
        target = choose_target(chosen)
        matches = match(scored, chosen)
        if not matches.rows:
            raise InputError(matches.describe(), file=labels[0])
        assessment = assess(scored, matches.rows, target)
        inflation, n_labels = assessment.correction.inflation, assessment.n_labels
        notes = [matches.describe(), *assessment.notes]
    document = _document(scored, target, half_width, inflation) | {
        "pilot_labels": n_labels,
        "model": facts_of(clf),
        "notes": notes,
    }
    if output_format == "json":
        typer.echo(json.dumps(document, indent=2))
    elif output_format == "markdown":
        from refusal_clf.report.plan import plan_markdown

        typer.echo(plan_markdown(document), nl=False)
    else:
        from refusal_clf.report.plan import print_plan

        print_plan(document)


def _document(scored: list[Scored], target: Target, half_width: float, inflation: float) -> dict[str, Any]:
    from refusal_clf.calibration.assessment import memberships, probability
    from refusal_clf.calibration.matching import counting
    from refusal_clf.calibration.planning import judge_only_need, plan
    from refusal_clf.calibration.sampling import SampleUnit, stratum_of

    verdicts = [scored[place].verdict for place in counting(scored)]
    if len(verdicts) < 2:
        raise InputError(f"{len(verdicts)} completions with a response: nothing to plan")
    rates = [probability(verdict, target) for verdict in verdicts]
    units = [
        SampleUnit(row, stratum_of(verdict.subset, verdict.subcategory), 1 - rate)
        for row, (verdict, rate) in enumerate(zip(verdicts, rates, strict=True))
    ]
    groups = {key: domain for key, domain in memberships(verdicts).items() if key.subcategory is None}
    return {
        "n": len(verdicts),
        "target": target,
        "half_width": half_width,
        "inflation": inflation,
        "judge_only": judge_only_need(len(verdicts), sum(rates) / len(rates), half_width),
        "strategies": [
            {
                "strategy": need.strategy,
                "n": need.n,
                "by_stratum": {name: round(value, 1) for name, value in need.by_stratum.items()},
                "groups": [
                    {**key._asdict(), "n": int(domain.sum()), "half_width": round(width, 5)}
                    for (key, domain), width in zip(groups.items(), need.half_widths, strict=True)
                ],
            }
            for need in plan(units, groups.values(), half_width, inflation)
        ],
    }
