"""Titled tables of text, in a terminal or as Markdown: what evaluations and calibrations are shown as."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from refusal_clf.report.escaping import markdown_cell, printable
from refusal_clf.report.terminal import make_console, width_of


@dataclass(frozen=True, slots=True)
class Sheet:
    """A titled table of text; the first `names` columns are names and the others figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 2


def print_sheets(sheets: Iterable[Sheet], file: TextIO | None = None) -> None:
    """Print tables to a terminal or a pipe (default: standard output)."""
    console = make_console(file or sys.stdout)
    for sheet in sheets:
        for table in _fitting(sheet, console):
            console.print(table)
        console.print()


def sheets_markdown(sheets: Iterable[Sheet]) -> str:
    """Return tables as GitHub-flavoured Markdown."""
    blocks = []
    for sheet in sheets:
        ruler = tuple("---" if index < sheet.names else "---:" for index in range(len(sheet.columns)))
        lines = [sheet.columns, ruler, *sheet.rows]
        body = "\n".join("| " + " | ".join(map(_markdown, line)) + " |" for line in lines)
        blocks.append(f"**{markdown_cell(sheet.title, limit=200)}**\n\n{body}")
    return "\n\n".join(blocks) + "\n"


def _fitting(sheet: Sheet, console: Console) -> Iterator[Table]:
    """Yield the sheet as one table or, where its figures do not fit side by side, as several with the names in each."""
    whole = _table(sheet)
    if width_of(whole, console).minimum <= console.width:
        yield whole
        return
    first = sheet.names
    while first < len(sheet.columns):
        end = first + 1
        while end < len(sheet.columns) and _fits(_part(sheet, first, end + 1), console):
            end += 1
        part = _part(sheet, first, end)
        # The last resort, in a terminal that is too narrow for a single column: figures are wrapped as well.
        yield _table(part, wrap=width_of(_table(part), console).minimum > console.width)
        first = end


def _fits(sheet: Sheet, console: Console) -> bool:
    return width_of(_table(sheet), console).maximum <= console.width


def _part(sheet: Sheet, first: int, end: int) -> Sheet:
    """Return the names with the columns from `first` up to `end`."""
    rows = (row[: sheet.names] + row[first:end] for row in sheet.rows)
    title = sheet.title if first == sheet.names else f"{sheet.title} (continued)"
    return replace(
        sheet, title=title, columns=sheet.columns[: sheet.names] + sheet.columns[first:end], rows=tuple(rows)
    )


def _table(sheet: Sheet, *, wrap: bool = False) -> Table:
    """Return the table, names wrapped where the terminal is narrow, and figures only with `wrap`."""
    table = Table(
        title=printable(sheet.title, limit=200), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    for index, column in enumerate(sheet.columns):
        figures = index >= sheet.names
        table.add_column(column, justify="right" if figures else "left", overflow="fold", no_wrap=figures and not wrap)
    for previous, row in zip(("", *(row[0] for row in sheet.rows)), sheet.rows, strict=False):
        table.add_row(
            "" if row[0] == previous else _indent(row[0]) + printable(row[0]),
            *(printable(cell, limit=200) for cell in row[1:]),
        )
    return table


def _indent(text: str) -> str:
    """Return the spaces that a name starts with, at most four: what `printable` takes for padding."""
    return " " * min(len(text) - len(text.lstrip(" ")), 4)


def _markdown(cell: str) -> str:
    # Only no-break spaces are kept at the start of a cell.
    return _indent(cell).replace(" ", "\N{NO-BREAK SPACE}") + markdown_cell(cell)
