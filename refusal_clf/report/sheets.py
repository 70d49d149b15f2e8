"""Titled tables of text, in a terminal or as Markdown: what evaluations and calibrations are shown as."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TextIO

from rich import box
from rich.table import Table

from refusal_clf.report.escaping import markdown_cell, printable
from refusal_clf.report.terminal import make_console


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
        table = Table(
            title=printable(sheet.title, limit=200), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
        )
        for index, column in enumerate(sheet.columns):
            table.add_column(column, justify="left" if index < sheet.names else "right", overflow="fold")
        for previous, row in zip(("", *(row[0] for row in sheet.rows)), sheet.rows, strict=False):
            table.add_row(
                "" if row[0] == previous else _indent(row[0]) + printable(row[0]),
                *(printable(cell, limit=200) for cell in row[1:]),
            )
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


def _indent(text: str) -> str:
    """Return the spaces that a name starts with, at most four: what `printable` takes for padding."""
    return " " * min(len(text) - len(text.lstrip(" ")), 4)


def _markdown(cell: str) -> str:
    # Only no-break spaces are kept at the start of a cell.
    return _indent(cell).replace(" ", "\N{NO-BREAK SPACE}") + markdown_cell(cell)
