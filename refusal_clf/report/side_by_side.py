"""Several runs side by side as tables: in a terminal, or as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from refusal_clf.report.bars import sparkline
from refusal_clf.report.escaping import printable
from refusal_clf.report.layout import percent
from refusal_clf.report.sheets import Sheet
from refusal_clf.side_by_side import Cell, Line, SideBySide


def sheets(compared: SideBySide) -> Iterator[Sheet]:
    """Yield the rates of each group in each run, and the differences from the first run."""
    runs = tuple(printable(run, 40) for run in compared.runs)
    yield Sheet(
        "Compliance rate, 95 % intervals",
        ("group", "trend", *runs),
        tuple(
            (group(line), sparkline(cell.rate for cell in line.cells), *map(_rate, line.cells))
            for line in compared.lines
        ),
    )
    yield Sheet(
        f"Change from {runs[0]}, points, paired by item; * p < 0.05 (McNemar, Holm)",
        ("group", *runs[1:]),
        tuple((group(line), *map(change, line.cells[1:])) for line in compared.lines),
        names=1,
    )


def group(line: Line) -> str:
    """Return a group's name, with the way that its rate should move; categories are indented."""
    arrow = {"noncompliance": " ↓", "compliance": " ↑"}.get(line.desired or "", "")
    subset = " · ".join(filter(None, (line.key.suite, line.key.subset)))
    return (subset if line.key.category is None else f"  {line.key.category}") + arrow


def change(cell: Cell) -> str:
    """Return the difference from the first run in points with its interval, and a star where it is significant."""
    if cell.difference is None or cell.difference_low is None or cell.difference_high is None:
        return "–"
    star = " *" if cell.p_adjusted is not None and cell.p_adjusted < 0.05 else ""
    low, high = 100 * cell.difference_low, 100 * cell.difference_high
    return f"{100 * cell.difference:+.1f} [{low:+.1f}, {high:+.1f}]{star}"


def _rate(cell: Cell) -> str:
    return percent(cell.rate, cell.ci_low, cell.ci_high)
