"""The page of `compare`: rates of all runs, their differences from the first, and the last run's responses."""

from __future__ import annotations

from collections.abc import Iterator

from refusal_clf.desired import desired_of
from refusal_clf.report.items import Listing
from refusal_clf.report.markup import Html
from refusal_clf.report.page import page, section
from refusal_clf.report.pages.rates import WAY, Rate, Series, place, subsets, tradeoff
from refusal_clf.report.pages.tables import sheet_table
from refusal_clf.report.plots import legend
from refusal_clf.report.side_by_side import sheets
from refusal_clf.side_by_side import Cell, SideBySide


def side_by_side_page(compared: SideBySide, listing: Listing) -> Html:
    """Return the page of a comparison; `listing` holds the last run's items beside those of the first."""
    facts = [f"{len(compared.runs)} runs, each compared with the first"]
    return page("Runs side by side", _sections(compared), facts=facts, listing=listing)


def _sections(compared: SideBySide) -> Iterator[Html]:
    series = [
        Series(run, {line.key: _rate(line.cells[at]) for line in compared.lines})
        for at, run in enumerate(compared.runs)
    ]
    if (picture := tradeoff(series)) is not None:
        yield section("Over-refusal against noncompliance", picture)
    for total, table in subsets(series):
        way = WAY.get(desired_of(total.suite, total.subset) or "")
        yield section(place(total), legend(compared.runs), table, note=f"Compliance rates{'; ' + way if way else ''}.")
    *_, differences = sheets(compared)
    yield section(differences.title, sheet_table(differences))


def _rate(cell: Cell) -> Rate:
    return Rate(cell.n, cell.rate, cell.ci_low, cell.ci_high)
