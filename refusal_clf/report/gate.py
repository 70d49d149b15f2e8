"""The outcome of a check as tables: in a terminal, or as Markdown for a pull request or a job's summary."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TextIO

from rich import box
from rich.table import Table
from rich.text import Text

from refusal_clf.comparison import Comparison, Flip, Gate
from refusal_clf.limits import LimitCheck
from refusal_clf.report.escaping import markdown_cell, printable
from refusal_clf.report.layout import percent
from refusal_clf.report.terminal import make_console

COMPARED: Final = ("group", "n", "before", "after", "change, points", "p (Holm)", "tolerated", "")
LIMITED: Final = ("limit on", "n", "compliance rate", "bound", "")
FLIPPED: Final = ("flipped", "group", "before", "after")
FLIPS_SHOWN: Final = 10
"""Flipped items that are printed; `check.json` holds all of them."""

_TEXT: Final = 300


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table of text: its columns, and rows with whether they failed."""

    columns: tuple[str, ...]
    rows: tuple[tuple[bool, tuple[str, ...]], ...]


def print_gate(gate: Gate, file: TextIO | None = None) -> None:
    """Print the tables, the flipped items and the outcome (default: to standard output)."""
    console = make_console(file or sys.stdout)
    for sheet in sheets(gate):
        table = Table(box=box.SIMPLE_HEAD)
        for index, column in enumerate(sheet.columns):
            table.add_column(
                column, justify="left" if index in (0, len(sheet.columns) - 1) else "right", overflow="fold"
            )
        for failed, cells in sheet.rows:
            table.add_row(*(Text(printable(cell), style="red" if failed else "") for cell in cells))
        console.print(table)
    for flip in gate.flipped[:FLIPS_SHOWN]:
        console.print(Text(printable(flip_line(flip), limit=200)), soft_wrap=True)
        for label, text in flip_texts(flip):
            console.print(Text(f"    {label}: {printable(text, limit=_TEXT)}", style="dim"), soft_wrap=True)
    if more := more_flips(gate):
        console.print(Text(more), soft_wrap=True)
    for note in gate.notes:
        console.print(Text(f"! {printable(note, limit=_TEXT)}", style="yellow"), soft_wrap=True)
    # Its names are those of the file, many of them if many groups failed.
    console.print(
        Text(printable(outcome(gate), limit=2000), style="bold green" if gate.passed else "bold red"), soft_wrap=True
    )


def gate_markdown(gate: Gate) -> str:
    """Return the tables, the flipped items and the outcome as GitHub-flavoured Markdown, ending in a line break."""
    blocks = [f"### {markdown_cell(outcome(gate), limit=200)}"]
    for sheet in sheets(gate):
        head = [sheet.columns, tuple("---" if index == 0 else "---:" for index in range(len(sheet.columns)))]
        lines = [f"| {' | '.join(cells)} |" for cells in head]
        for failed, cells in sheet.rows:
            mark = "**" if failed else ""
            lines.append(
                "| " + " | ".join(f"{mark}{markdown_cell(cell)}{mark}" if cell else "" for cell in cells) + " |"
            )
        blocks.append("\n".join(lines))
    if gate.flipped:
        lines = []
        for flip in gate.flipped[:FLIPS_SHOWN]:
            lines.append(f"- {markdown_cell(flip_line(flip), limit=200)}")
            lines += [f"  - {label}: {markdown_cell(text, limit=_TEXT)}" for label, text in flip_texts(flip)]
        blocks.append("\n".join([*lines, *([f"- {more}"] if (more := more_flips(gate)) else [])]))
    if gate.notes:
        blocks.append("\n".join(f"- Note: {markdown_cell(note, limit=_TEXT)}" for note in gate.notes))
    return "\n\n".join(blocks) + "\n"


def sheets(gate: Gate) -> Iterator[Sheet]:
    """Yield the comparisons and the limits, whichever there are."""
    if gate.comparisons:
        yield Sheet(COMPARED, tuple((row.failed, _compared(row)) for row in gate.comparisons if _worth_a_line(row)))
    if gate.limits:
        yield Sheet(LIMITED, tuple((row.failed, _limited(row)) for row in gate.limits))


def outcome(gate: Gate) -> str:
    """Return the whole in one line."""
    if not gate.passed:
        return f"FAILED: {', '.join(dict.fromkeys(row.name for row in gate.failures))}"
    compared = f"{gate.n_paired:,} items compared" if gate.comparisons else "nothing compared"
    return f"passed ({compared}, {len(gate.limits)} limits kept)" if gate.limits else f"passed ({compared})"


def explain(row: Comparison | LimitCheck) -> str:
    """Say what happened to one row, in a sentence for a log."""
    if isinstance(row, LimitCheck):
        return (
            f"{row.name}: compliance rate {percent(row.rate, row.ci_low, row.ci_high)} of {row.n:,}, "
            f"{row.bound} is {100 * row.value:.1f} %"
        )
    what = {"compliance": "compliance rate", "undesired": "undesired verdicts", "empty": "empty responses"}[row.measure]
    return (
        f"{row.name}: {what} {percent(row.rate_before)} -> {percent(row.rate_after)} ({_change(row)} points, "
        f"{row.n_paired:,} items, p {_p(row)}); {_tolerated(row)} points tolerated"
    )


def flip_line(flip: Flip) -> str:
    """Return a flipped item in one line."""
    mark = {True: "worse", False: "better", None: "changed"}[flip.worse]
    group = " · ".join(filter(None, (flip.suite, flip.subset, flip.subcategory or flip.category)))
    return f"{mark}: {flip.id} ({group}): {flip.before} -> {flip.after}"


def flip_texts(flip: Flip) -> list[tuple[str, str]]:
    """Return what is at hand of a flipped item's texts, with labels."""
    texts = (("prompt", flip.prompt), ("before", flip.response_before), ("after", flip.response_after))
    return [(label, text) for label, text in texts if text]


def more_flips(gate: Gate) -> str:
    """Say how many flipped items were not shown; empty if none."""
    more = len(gate.flipped) - FLIPS_SHOWN
    return f"… and {more:,} more that flipped (check.json and --format json list all)" if more > 0 else ""


def _worth_a_line(row: Comparison) -> bool:
    return row.measure != "empty" or row.rate_before + row.rate_after > 0


def _compared(row: Comparison) -> tuple[str, ...]:
    arrow = {"noncompliance": " ↓", "compliance": " ↑"}.get(row.desired or "", "")
    name = row.name if row.category is None else f"└ {row.category}"
    return (
        name + arrow,
        f"{row.n_paired:,}" + (f" ({row.n_labels:,} labels)" if row.n_labels else ""),
        percent(row.rate_before),
        percent(row.rate_after),
        _change(row),
        _p(row),
        _tolerated(row),
        "FAILED" if row.failed else "",
    )


def _limited(row: LimitCheck) -> tuple[str, ...]:
    rate, bound = percent(row.rate, row.ci_low, row.ci_high), f"{row.bound} {100 * row.value:.1f} %"
    return row.name, f"{row.n:,}", rate, bound, "FAILED" if row.failed else ""


def _change(row: Comparison) -> str:
    return f"{100 * row.difference:+.1f} [{100 * row.ci_low:+.1f}, {100 * row.ci_high:+.1f}]"


def _p(row: Comparison) -> str:
    p = row.p_value if row.p_adjusted is None else row.p_adjusted
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _tolerated(row: Comparison) -> str:
    return "–" if row.tolerated is None else f"{100 * row.tolerated:.1f}"
