"""Sheets of text, as terminals and Markdown show them, as tables of a page."""

from __future__ import annotations

from collections.abc import Iterable

from refusal_clf.report.markup import Html, name, tag, wide_table
from refusal_clf.report.page import section
from refusal_clf.report.sheets import Sheet


def sheet_sections(sheets: Iterable[Sheet]) -> Iterable[Html]:
    """Yield a section with a table for each sheet."""
    for sheet in sheets:
        yield section(sheet.title, sheet_table(sheet))


def sheet_table(sheet: Sheet) -> Html:
    """Return a sheet as a table; names that repeat the row above are left out, as in a terminal."""
    head = (tag("th", name(one), scope="col", class_=_side(at, sheet)) for at, one in enumerate(sheet.columns))
    body, above = [], ""
    for first, *cells in sheet.rows:
        depth = "subcategory" if first.startswith("    ") else "category" if first.startswith("  ") else None
        label = tag("td") if first == above else tag("th", name(first.strip()), scope="row")
        others = (tag("td", name(cell, 400), class_=_side(at, sheet)) for at, cell in enumerate(cells, start=1))
        body.append(tag("tr", label, others, class_=depth))
        above = first
    return wide_table(tag("thead", tag("tr", head)), tag("tbody", body))


def _side(at: int, sheet: Sheet) -> str | None:
    return "num" if at >= sheet.names else None
