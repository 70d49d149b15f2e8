"""What `plan` found as tables and sentences: in a terminal, or as Markdown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, TextIO

from rich.text import Text

from refusal_clf.report.calibration import group_name, shown_groups
from refusal_clf.report.escaping import markdown_cell, printable
from refusal_clf.report.sheets import Sheet, print_sheets, sheets_markdown
from refusal_clf.report.terminal import make_console


def print_plan(document: dict[str, Any], file: TextIO | None = None) -> None:
    """Print tables and notes to a terminal or a pipe (default: standard output)."""
    print_sheets(_sheets(document), file)
    console = make_console(file or sys.stdout)
    console.print(Text(_totals(document)), soft_wrap=True)
    for note in document["notes"]:
        console.print(Text(f"! {printable(note, limit=400)}", style="yellow"), soft_wrap=True)


def plan_markdown(document: dict[str, Any]) -> str:
    """Return tables and notes as GitHub-flavoured Markdown."""
    notes = "\n".join(f"- Note: {markdown_cell(note, limit=400)}" for note in document["notes"])
    return sheets_markdown(_sheets(document)) + f"\n- {markdown_cell(_totals(document), limit=400)}\n{notes}\n"


def _totals(document: dict[str, Any]) -> str:
    shared = " (a new draw; judge pays again only for rows that it does not share)" if document["pilot_labels"] else ""
    return (
        f"completions: {document['n']:,} · pilot labels: {document['pilot_labels']:,}{shared} · "
        f"squared errors {document['inflation']:.2f} times what the classifier's probabilities promise"
    )


def _sheets(document: dict[str, Any]) -> Iterator[Sheet]:
    """Yield the calls by strategy, the strata that they fall into, and how precise the groups become."""
    strategies, n = document["strategies"], document["n"]
    names = tuple(one["strategy"] for one in strategies)
    calls = [*((one["strategy"], one["n"]) for one in strategies), ("judge alone, uniform", document["judge_only"])]
    yield Sheet(
        f"Judge calls for ± {100 * document['half_width']:.1f} points",
        ("drawn", "calls", "of the file, %"),
        tuple((name, f"{count:,}", f"{100 * count / n:.0f}") for name, count in calls),
        names=1,
    )
    yield Sheet(
        "Calls by stratum (expected numbers, unless stratified)",
        ("stratum", *names),
        tuple(
            (printable(stratum), *(f"{one['by_stratum'].get(stratum, 0):.0f}" for one in strategies))
            for stratum in strategies[0]["by_stratum"]
        ),
        names=1,
    )
    groups = list(shown_groups(strategies[0]["groups"], details=False))
    widths = {id(group): place for place, group in enumerate(strategies[0]["groups"])}
    yield Sheet(
        "Half-width to expect in each group, in points",
        ("group", "n", *names),
        tuple(
            (
                group_name(group),
                f"{group['n']:,}",
                *(f"{100 * one['groups'][widths[id(group)]]['half_width']:.1f}" for one in strategies),
            )
            for group in groups
        ),
        names=1,
    )
