"""The page of `score`: rates of each subset, and the responses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from refusal_clf.desired import desired_of
from refusal_clf.report.items import Listing
from refusal_clf.report.layout import totals, warnings
from refusal_clf.report.markup import Html, name
from refusal_clf.report.page import page, section
from refusal_clf.report.pages.rates import WAY, Rate, Series, place, subsets, tiles, tradeoff
from refusal_clf.report.plots import legend
from refusal_clf.scoring import GroupKey
from refusal_clf.summary import Group, Report


def score_page(
    title: str, report: Report, listing: Listing, *, baseline: tuple[str, Sequence[Group]] | None = None
) -> Html:
    """Return the page of a scoring run.

    Parameters
    ----------
    title
        What was scored.
    baseline
        An earlier run's name and groups, shown beside this one.
    """
    series = [Series(title, rates(report.groups))]
    if report.by_model:
        series = [Series(one.model or "(no model named)", rates(one.groups)) for one in report.by_model]
    if baseline is not None:
        series.append(Series(f"{baseline[0]} (baseline)", rates(baseline[1])))
    return page(title, _sections(series), facts=[name(totals(report), 400)], warnings=warnings(report), listing=listing)


def rates(groups: Sequence[Group]) -> dict[GroupKey, Rate]:
    """Return the compliance rates of groups."""
    return {
        GroupKey(group.suite, group.subset, group.category, group.subcategory): Rate(
            group.n, group.compliance_rate, group.ci_low, group.ci_high
        )
        for group in groups
    }


def _sections(series: Sequence[Series]) -> Iterator[Html]:
    if len(series) == 1:
        yield tiles(series)
    for total, table in subsets(series):
        way = WAY.get(desired_of(total.suite, total.subset) or "")
        note = (
            f"Share of compliance with 95 % intervals (Wilson){'; ' + way if way else ''}. A name shows its responses."
        )
        yield section(place(total), legend([one.name for one in series]) if len(series) > 1 else None, table, note=note)
    if (picture := tradeoff(series)) is not None:
        yield section("Over-refusal against noncompliance", picture)
