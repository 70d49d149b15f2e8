"""A report as Markdown, for a pull request or a model card."""

from __future__ import annotations

from collections.abc import Sequence

from refusal_clf.report.escaping import markdown_cell
from refusal_clf.report.layout import Panel, Row, panels, totals, warnings
from refusal_clf.summary import Report


def markdown(report: Report, *, details: bool = False, notes: Sequence[str] = ()) -> str:
    """Return the tables, the totals line and the warnings as GitHub-flavoured Markdown, ending in a line break.

    `notes` are what else is to be said of the rates.
    """
    blocks = [_table(panel) for panel in panels(report, details=details)]
    blocks += [markdown_cell(line, limit=400) for line in (totals(report), *notes)]
    if found := warnings(report):
        blocks.append("\n".join(f"- Note: {note}" for note in found))
    return "\n\n".join(blocks) + "\n"


def _table(panel: Panel) -> str:
    lines = [
        f"### {markdown_cell(panel.title, limit=160)}",
        "",
        _line("category", *panel.columns),
        _line("---", *("---:" for _ in panel.columns)),
    ]
    return "\n".join(lines + [_line(_name(row), *(_cell(row, cell) for cell in row.cells)) for row in panel.rows])


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _name(row: Row) -> str:
    name = markdown_cell(row.name)
    # Leading blanks of a cell are dropped by renderers; an entity is the only indentation that they keep.
    return f"&emsp;{name}" if row.kind == "subcategory" else _cell(row, name)


def _cell(row: Row, text: str) -> str:
    return f"**{text}**" if row.kind == "total" and text else text
