"""The page of `check`: the outcome, the changes with what is tolerated, the limits, and the responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from refusal_clf.comparison import Comparison, Gate
from refusal_clf.report.gate import outcome, sheets
from refusal_clf.report.items import Listing
from refusal_clf.report.markup import Html, name, tag, wide_table
from refusal_clf.report.page import page, section
from refusal_clf.report.pages.rates import plotted, show
from refusal_clf.report.plots import Mark, intervals, scale

_LEAST_REACH: Final = 0.05
"""Points either way that the scale of changes shows at least."""


def gate_page(title: str, gate: Gate, listing: Listing) -> Html:
    """Return the page of a check."""
    return page(
        title, _sections(gate), facts=[f"{gate.n_paired:,} items compared"], warnings=gate.notes, listing=listing
    )


def points(change: float) -> str:
    """Return a change in points, with its sign."""
    return f"{100 * change:+.1f}"


def _sections(gate: Gate) -> Iterator[Html]:
    tested = len(gate.limits) + sum(row.tolerated is not None for row in gate.comparisons)
    told = outcome(gate) if gate.passed else f"FAILED: {len(gate.failures)} of {tested} groups and limits"
    yield tag("p", name(told), class_=f"verdict {'good' if gate.passed else 'bad'}", role="status")
    changed = [flip for flip in gate.flipped if flip.worse]
    if gate.flipped:
        better = sum(flip.worse is False for flip in gate.flipped)
        yield tag(
            "p",
            tag("a", f"{len(changed):,} became worse", href="#responses", data_show=show(change="worse")),
            ", ",
            tag("a", f"{better:,} became better", href="#responses", data_show=show(change="better")),
            f", of {gate.n_paired:,}.",
        )
    if gate.comparisons:
        shown = [row for row in gate.comparisons if row.measure != "empty" or row.rate_before + row.rate_after > 0]
        reach = max([_LEAST_REACH, *(max(abs(row.ci_low), abs(row.ci_high)) for row in shown)])
        yield section(
            "Changes from the baseline",
            _changes(shown, min(1.0, reach)),
            note="Paired by item, in points, with 95 % intervals. Shaded: what is tolerated. A group fails if its "
            "change is larger and significant (McNemar's mid-p test, Holm-corrected).",
        )
    if gate.limits:
        *_, limits = sheets(gate)
        head = tag("tr", (tag("th", column, scope="col") for column in limits.columns))
        body = (
            tag("tr", (tag("td", name(cell, 300), class_="bad" if failed else None) for cell in cells))
            for failed, cells in limits.rows
        )
        yield section("Limits on rates", wide_table(tag("thead", head), tag("tbody", body)))


def _changes(rows: list[Comparison], reach: float) -> Html:
    head = tag(
        "tr",
        tag("th", "group", scope="col"),
        tag("th", "n", scope="col", class_="num"),
        tag("td", scale(-reach, reach, shown=lambda at: f"{100 * at:+.0f}" if at else "0"), class_="plot"),
        (tag("th", text, scope="col", class_="num") for text in ("before", "after", "change", "p (Holm)")),
        tag("td"),
    )
    return plotted(head, (_change(row, reach) for row in rows))


def _change(row: Comparison, reach: float) -> Html:
    arrow = {"noncompliance": " ↓", "compliance": " ↑"}.get(row.desired or "", "")
    p = row.p_value if row.p_adjusted is None else row.p_adjusted
    zone = None
    if row.tolerated is not None:
        zone = (-row.tolerated, reach) if row.desired == "compliance" else (-reach, row.tolerated)
    interval = f"[{points(row.ci_low)}, {points(row.ci_high)}]"
    # The table's column of outcomes says in words what colour alone would hide.
    told = "failed" if row.failed else "" if row.tolerated is None else "kept"
    mark = Mark(row.difference, row.ci_low, row.ci_high, 1 if row.failed else 0)
    return tag(
        "tr",
        tag("th", name((row.category or row.name) + arrow), scope="row"),
        tag("td", f"{row.n_paired:,}", class_="num", data_label="n"),
        tag("td", intervals([mark], -reach, reach, zone=zone, shown=points), class_="plot"),
        tag("td", f"{100 * row.rate_before:.1f} %", class_="num", data_label="before"),
        tag("td", f"{100 * row.rate_after:.1f} %", class_="num", data_label="after"),
        tag("td", points(row.difference), " ", tag("span", interval, class_="ci"), class_="num", data_label="change"),
        tag("td", "< 0.001" if p < 0.001 else f"{p:.3f}", class_="num", data_label="p"),
        tag("td", told, class_="bad" if row.failed else "good" if told else None),
        class_="subcategory" if row.category else "total",
    )
