"""Rates of groups, side by side: the tables and the plane that the pages of `score` and `compare` share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from refusal_clf.desired import desired_of
from refusal_clf.report.layout import percent
from refusal_clf.report.markup import Child, Html, name, tag, wide_table
from refusal_clf.report.plots import Mark, Point, figure, intervals, legend, plane, scale
from refusal_clf.scoring import GroupKey, group_order

WAY: Final = {"noncompliance": "lower is better ↓", "compliance": "higher is better ↑"}
"""Which way a compliance rate should move, by the desired verdict."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The compliance rate of one group in one run, a fraction with its interval; None where nothing was counted."""

    n: int
    value: float | None
    low: float | None
    high: float | None

    def mark(self, series: int) -> Mark | None:
        """Return it as it is drawn."""
        if self.value is None or self.low is None or self.high is None:
            return None
        return Mark(self.value, self.low, self.high, series)


@dataclass(frozen=True, slots=True)
class Series:
    """One run, model or baseline: its name, and its rates by group."""

    name: str
    rates: Mapping[GroupKey, Rate]


def show(**wanted: str) -> str:
    """Return the `data-show` of a link: the values of the list's filters."""
    return json.dumps(wanted, ensure_ascii=False)


def place(key: GroupKey) -> str:
    """Return a subset's name as the list's filter has it."""
    return " · ".join(filter(None, (key.suite, key.subset)))


def keys_of(series: Iterable[Series]) -> list[GroupKey]:
    """Return the groups of all series in the order of reports."""
    return sorted({key for one in series for key in one.rates}, key=group_order)


def subsets(series: Sequence[Series]) -> Iterator[tuple[GroupKey, Html]]:
    """Yield each subset's total with a table of its categories and subcategories."""
    keys = keys_of(series)
    for total in (key for key in keys if key.category is None and key.subcategory is None):
        members = [key for key in keys if key[:2] == total[:2]]
        yield total, _table(members, series)


def tiles(series: Sequence[Series]) -> Html:
    """Return the compliance rate of each subset of the first series, large."""
    first = series[0]
    shown = []
    for key in keys_of([first]):
        if key.category is not None or key.subcategory is not None:
            continue
        rate = first.rates[key]
        way = WAY.get(desired_of(key.suite, key.subset) or "", "")
        shown.append(
            tag(
                "li",
                tag("div", name(place(key)), class_="of"),
                tag("div", percent(rate.value), class_="figure"),
                tag("div", f"compliance rate of {rate.n:,}{', ' + way if way else ''}", class_="small"),
                tag("div", f"95 % interval {_interval(rate)}", class_="small") if rate.value is not None else None,
                class_="tile",
            )
        )
    return tag("ul", shown, class_="tiles")


def tradeoff(series: Sequence[Series]) -> Html | None:
    """Return over-refusal against noncompliance where a suite has both, each run a point; None elsewhere."""
    for suite in dict.fromkeys(key.suite for key in keys_of(series)):
        points = [point for one in series if (point := _point(one, suite)) is not None]
        if points:
            plot = plane(points, "complied, should decline", "declined, should comply")
            caption = f"{suite}: each run's undesired rates with 95 % intervals; the corner at the lower left is ideal."
            return tag("div", legend([point.name for point in points]), figure(plot, caption))
    return None


def _point(series: Series, suite: str) -> Point | None:
    found: dict[str, Rate] = {}
    for key, rate in series.rates.items():
        desired = desired_of(key.suite, key.subset)
        if key.suite == suite and key.category is None and key.subcategory is None and desired and rate.n:
            found[desired] = rate
    if len(found) < 2:
        return None
    complied, helped = found["noncompliance"].mark(0), found["compliance"].mark(0)
    if complied is None or helped is None:
        return None
    return Point(series.name, complied, Mark(1 - helped.value, 1 - helped.high, 1 - helped.low))


def plotted(head: Html, rows: Iterable[Html]) -> Html:
    """Return a table with a column of plots; on a phone each row becomes a block, its cells named by `data-label`."""
    return wide_table(tag("thead", head), tag("tbody", rows), class_="stack")


def _table(keys: Sequence[GroupKey], series: Sequence[Series]) -> Html:
    several = len(series) > 1
    head = tag(
        "tr",
        tag("th", "group", scope="col"),
        tag("th", "n", scope="col", class_="num"),
        tag("th", scale(), tag("span", "compliance rate", class_="small"), scope="col", class_="plot"),
        (tag("th", name(one.name, 40) if several else "compliance rate", scope="col", class_="num") for one in series),
    )
    return plotted(head, (_row(key, series) for key in keys))


def _row(key: GroupKey, series: Sequence[Series]) -> Html:
    several, rates = len(series) > 1, [one.rates.get(key) for one in series]
    kind = "subcategory" if key.subcategory else "category" if key.category else "total"
    sizes = sorted({rate.n for rate in rates if rate is not None})
    cells: list[Child] = [
        tag("td", "–" if rate is None else _figures(rate), class_="num", data_label=one.name if several else None)
        for one, rate in zip(series, rates, strict=True)
    ]
    marks = [rate.mark(at) if rate is not None else None for at, rate in enumerate(rates)]
    return tag(
        "tr",
        tag("th", _link(key), scope="row"),
        tag(
            "td",
            "–".join(f"{size:,}" for size in (sizes if len(sizes) < 3 else [sizes[0], sizes[-1]])),
            class_="num",
            data_label="n",
        ),
        tag("td", intervals(marks), class_="plot"),
        cells,
        class_=kind,
    )


def _link(key: GroupKey) -> Html:
    wanted = {"place": place(key)}
    if key.subcategory:
        wanted["group"] = f"{key.category or '–'} › {key.subcategory}"
    elif key.category:
        wanted["group"] = key.category
    return tag(
        "a", name(key.subcategory or key.category or "all"), href="#responses", class_="pick", data_show=show(**wanted)
    )


def _figures(rate: Rate) -> Html:
    if rate.value is None:
        return tag("span", "–")
    return tag("span", percent(rate.value), " ", tag("span", _interval(rate), class_="ci"))


def _interval(rate: Rate) -> str:
    if rate.low is None or rate.high is None:
        return ""
    return f"[{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
