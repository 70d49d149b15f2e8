"""A `calibration.json` document as tables and sentences: in a terminal, or as Markdown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, TextIO

from rich.text import Text

from refusal_clf.report.escaping import markdown_cell, printable
from refusal_clf.report.layout import percent
from refusal_clf.report.sheets import Sheet, print_sheets, sheets_markdown
from refusal_clf.report.terminal import make_console

_RATE = {"verdict": "compliance", "refusal": "full compliance"}


def print_calibration(document: dict[str, Any], *, details: bool = False, file: TextIO | None = None) -> None:
    """Print tables, advice and notes to a terminal or a pipe (default: standard output).

    Parameters
    ----------
    document
        What `calibration.json` holds.
    details
        Whether subcategories are listed under their categories.
    """
    print_sheets(sheets(document, details=details), file)
    console = make_console(file or sys.stdout)
    for line in sentences(document):
        console.print(Text(printable(line, limit=600)), soft_wrap=True)
    for note in document["notes"]:
        console.print(Text(f"! {printable(note, limit=400)}", style="yellow"), soft_wrap=True)


def calibration_markdown(document: dict[str, Any], *, details: bool = False) -> str:
    """Return tables, advice and notes as GitHub-flavoured Markdown."""
    lines = [f"- {markdown_cell(line, limit=600)}" for line in sentences(document)]
    lines += [f"- Note: {markdown_cell(note, limit=400)}" for note in document["notes"]]
    return sheets_markdown(sheets(document, details=details)) + "\n" + "\n".join(lines) + "\n"


def sheets(document: dict[str, Any], *, details: bool = False) -> Iterator[Sheet]:
    """Yield the tables: rates by each method, agreement with advice, the confusion and the reliability curve."""
    groups = list(shown_groups(document["groups"], details=details))
    judge, rate = document["judge"], _RATE[document["target"]]
    yield Sheet(
        f"{rate.capitalize()} rate that {printable(judge, 40)} would find, in %",
        ("group", "n", "labels", "classifier", "judge alone", "corrected", "worth", "Rogan-Gladen"),
        tuple(
            (
                group_name(group),
                f"{group['n']:,}",
                f"{group['n_labels']:,}",
                f"{100 * group['classifier_rate']:.1f}",
                _interval(group["judge_only"]),
                _interval(group["corrected"]),
                "–" if group["effective_n"] is None else f"{group['effective_n']:.0f}",
                _interval(group["rogan_gladen"]),
            )
            for group in groups
        ),
        names=1,
    )
    yield Sheet(
        f"Agreement of the classifier with {printable(judge, 40)}, and what to make of its rates",
        ("group", "advice", "because", "agreement, %", "kappa"),
        tuple(
            (
                group_name(group),
                group["advice"],
                group["reason"],
                _interval(group["agreement"]),
                "–" if group["kappa"] is None else f"{group['kappa']:.2f}",
            )
            for group in groups
        ),
        names=3,
    )
    names = list(document["confusion"])
    yield Sheet(
        "Labels: the judge's in rows, the classifier's in columns",
        ("judge", *names),
        tuple((truth, *(f"{row[name]:,}" for name in names)) for truth, row in document["confusion"].items()),
        names=1,
    )
    yield Sheet(
        f"Reliability of the probability of {rate}",
        ("probability, mean", "judge's rate", "labels"),
        tuple((f"{row['probability']:.2f}", f"{row['rate']:.2f}", f"{row['n']:,}") for row in document["reliability"]),
        names=0,
    )


def sentences(document: dict[str, Any]) -> Iterator[str]:
    """Yield what the tables do not hold, a sentence each."""
    model = document["model"]
    named = f" · classifier: {model['name']} (sha256 {model['sha256'][:12]})" if model["name"] else ""
    yield (
        f"completions: {document['n']:,} · labels of {document['judge']}: {document['n_labels']:,}, drawn "
        f"{document['strategy']}{named}"
    )
    yield document["matched"]
    yield (
        f"expected calibration error {document['ece']:.3f}, Brier score {document['brier']:.3f} (binary, 0 is best); "
        f"power {document['correction']['power']:.2f}, squared errors {document['correction']['inflation']:.2f} times "
        "what the probabilities promise"
    )
    yield "intervals: 95 %, for this file; worth: labels drawn at random that would say as much without the classifier"
    if (both := document["judge_and_human"]) is not None:
        yield (
            f"judge and people on the {both['n']:,} responses that both labelled: agreement "
            f"{100 * both['agreement']:.1f} %, kappa {both['kappa']:.2f}; "
            f"only the judge calls {both['only_first']}, only people call "
            f"{both['only_second']} compliance (McNemar, p = {both['p_value']:.2g})"
        )
    if (drift := document["drift"]) is not None:
        before, after, change = drift["agreement_before"], drift["agreement_after"], drift["difference"]
        yield (
            f"drift: agreement with {drift['n_before']:,} earlier labels {_interval(before)} %, with "
            f"{drift['n_after']:,} later ones {_interval(after)} %, difference {_interval(change)} points; "
            f"the classifier's rate less the "
            f"judge's was {100 * drift['bias_before']:+.1f} and is {100 * drift['bias_after']:+.1f} points"
        )
        if drift["n_left_out"]:
            yield f"drift: {drift['n_left_out']:,} earlier labels match no completion, or give no label to compare"
        yield f"drift: {drift['verdict']}"


def shown_groups(groups: list[dict[str, Any]], *, details: bool) -> Iterator[dict[str, Any]]:
    """Leave out subcategories unless wanted, and a subset's total where it is the whole file."""
    whole = groups[0]
    for group in groups:
        repeats = group is not whole and group["category"] is None and group["n"] == whole["n"]
        if (details or group["subcategory"] is None) and not repeats:
            yield group


def group_name(group: dict[str, Any]) -> str:
    """Return a group's own name, indented below its total's."""
    if group["subcategory"] is not None:
        return f"    {group['subcategory']}"
    if group["category"] is not None:
        return f"  {group['category']}"
    return f"{group['subset']}, all" if group["subset"] else "all"


def _interval(estimate: dict[str, float] | None) -> str:
    if estimate is None:
        return "–"
    return percent(estimate["estimate"], estimate["ci_low"], estimate["ci_high"]).replace(" %", "")
