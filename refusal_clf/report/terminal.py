"""A report as tables in a terminal, or as plain text in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, TextIO

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from refusal_clf.report.bars import bar, draws_bars
from refusal_clf.report.escaping import printable
from refusal_clf.report.layout import Panel, panels, totals, warnings
from refusal_clf.summary import Report

PIPED_WIDTH: Final = 120
"""Columns where nothing says how wide the output is: a table in a pipe must not be folded to 80."""

_ENDLESS: Final = 10_000
_STYLES: Final = {"category": "bold", "subcategory": "", "total": "bold", "macro": ""}


def print_report(
    report: Report, *, details: bool = False, notes: Sequence[str] = (), file: TextIO | None = None
) -> None:
    """Print the tables, the totals line and the warnings.

    Terminal sequences appear only if `file` is a terminal, colour never under NO_COLOR, and bars only where there is
    room for them beside whole names.

    Parameters
    ----------
    details
        Whether subcategories are listed under their categories.
    notes
        What else is to be said of the rates, a sentence each.
    file
        Default: standard output.
    """
    console = make_console(file or sys.stdout)
    for panel in panels(report, details=details):
        table = _table(panel, bars=draws_bars(file or sys.stdout))
        if width_of(table, console).maximum > console.width:
            table = _table(panel, bars=False)
        console.print(table)
        console.print()
    for line in (totals(report), *notes):
        console.print(Text(printable(line, limit=400)), soft_wrap=True)
    for note in warnings(report):
        console.print(Text(f"! {note}", style="yellow"), soft_wrap=True)


def make_console(file: TextIO) -> Console:
    """Return a console that neither highlights nor reads markup, as wide as the terminal or `PIPED_WIDTH`."""
    return Console(file=file, width=None if file.isatty() else PIPED_WIDTH, highlight=False, markup=False, emoji=False)


def width_of(table: Table, console: Console) -> Measurement:
    """Return the columns that a table needs at least, and those in which nothing is wrapped, however wide that is."""
    return console.measure(table, options=console.options.update(width=_ENDLESS))


def _table(panel: Panel, *, bars: bool) -> Table:
    # A `Text` is never read as markup, so a name from a file stays what it is.
    table = Table(
        title=Text(printable(panel.title, limit=160), style="bold"), title_justify="left", box=box.SIMPLE_HEAD
    )
    table.add_column("category", overflow="fold")
    if bars:
        table.add_column("")
    for column in panel.columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in panel.rows:
        indent = "  " if row.kind == "subcategory" else ""
        if row.kind == "total":
            table.add_section()
        style = _STYLES[row.kind]
        drawn = [Text(bar(row.rate), style="cyan")] if bars else []
        cells = (Text(cell, style=style) for cell in row.cells)
        table.add_row(Text(indent + printable(row.name), style=style), *drawn, *cells)
    return table
