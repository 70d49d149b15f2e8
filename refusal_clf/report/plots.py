"""Plots of a page as inline SVG: classes and attributes alone, since the page's policy forbids styles on elements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from refusal_clf.report.markup import Html, name, tag, wide_table

_WIDTH: Final = 240
_ROW: Final = 11
_SIDE: Final = 300
_MARGIN: Final = 42
SERIES: Final = 6
"""Colours; a seventh series takes the first again."""


class Mark(NamedTuple):
    """An estimate with its interval, each a fraction; `series` chooses the colour."""

    value: float
    low: float
    high: float
    series: int = 0


class Point(NamedTuple):
    """A model in the plane of two rates, fractions with intervals."""

    name: str
    x: Mark
    y: Mark


def colour(series: int) -> str:
    """Return the class that gives an element the colour of a series."""
    return f"s{series % SERIES}"


def percents(fraction: float) -> str:
    """Return a fraction as a figure in percent."""
    return f"{100 * fraction:.1f} %"


def intervals(
    marks: Sequence[Mark | None],
    low: float = 0.0,
    high: float = 1.0,
    *,
    zone: tuple[float, float] | None = None,
    shown: Callable[[float], str] = percents,
) -> Html:
    """Return dots with their intervals on one scale, one below the other, for a cell of a table.

    Parameters
    ----------
    marks
        One for each series; None leaves its line empty.
    low, high
        Ends of the scale, values beyond them are drawn at its ends.
    zone
        A shaded range: what is tolerated.
    """
    height = _ROW * max(1, len(marks)) + 3
    parts = []
    if zone is not None:
        left, right = _x(zone[0], low, high), _x(zone[1], low, high)
        parts.append(tag("rect", x=left, y=0, width=right - left, height=height, class_="zone"))
    parts += [
        tag("line", x1=_x(at, low, high), x2=_x(at, low, high), y1=0, y2=height, class_="rule")
        for at in _ticks(low, high)
    ]
    for place, mark in enumerate(marks):
        if mark is None:
            continue
        y = _ROW * place + _ROW / 2 + 1.5
        ends = {"x1": _x(mark.low, low, high), "x2": _x(mark.high, low, high), "y1": y, "y2": y}
        parts.append(tag("line", class_=f"reach {colour(mark.series)}", **ends))
        kind = "dot" if place == 0 else "hollow"
        parts.append(tag("circle", cx=_x(mark.value, low, high), cy=y, r=3.6, class_=f"{kind} {colour(mark.series)}"))
    said = "; ".join(f"{shown(one.value)} [{shown(one.low)}, {shown(one.high)}]" for one in marks if one is not None)
    return tag("svg", parts, viewBox=f"0 0 {_WIDTH} {height}", role="img", aria_label=said or "nothing counted")


def scale(low: float = 0.0, high: float = 1.0, *, shown: Callable[[float], str] = "{:.0%}".format) -> Html:
    """Return the scale of `intervals`, for the head of its column."""
    parts = []
    for place, at in enumerate(_ticks(low, high)):
        anchor = ("start", "middle", "end")[place]
        parts.append(tag("text", shown(at), x=_x(at, low, high), y=10, text_anchor=anchor))
    return tag("svg", parts, viewBox=f"0 0 {_WIDTH} 12", aria_hidden="true")


def legend(names: Sequence[str]) -> Html:
    """Return the names of series beside their colours, in the order in which they are drawn."""
    return tag("ul", (tag("li", name(one), class_=colour(at)) for at, one in enumerate(names)), class_="legend")


def reliability(bins: Sequence[tuple[float, float, int]], label: str) -> Html:
    """Return a reliability diagram: the rate of the truth over the mean probability of each bin.

    Parameters
    ----------
    bins
        Mean probability, rate of the truth (both in [0, 1]) and number of each bin.
    label
        What the probability is of.
    """
    most = max((n for *_, n in bins), default=1)
    parts = [*_frame(f"probability of {label}", "rate of the truth")]
    parts.append(tag("line", x1=_px(0), y1=_py(0), x2=_px(1), y2=_py(1), class_="base dash"))
    for probability, _, n in bins:
        height = 60 * n / most
        at, y = _px(probability) - 6, _py(0) - height
        parts.append(tag("rect", x=at, y=y, width=12, height=height, class_="bar"))
    path = " ".join(f"{_px(p):.1f},{_py(rate):.1f}" for p, rate, _ in bins)
    parts.append(tag("polyline", points=path, class_="line s0"))
    for p, rate, n in bins:
        parts.append(
            tag("circle", tag("title", f"{p:.2f}: {rate:.2f} of {n:,}"), cx=_px(p), cy=_py(rate), r=4, class_="dot s0")
        )
    return _plane(
        parts, f"Reliability of the probability of {label}: the diagonal is ideal; grey bars count the labels"
    )


def plane(points: Sequence[Point], x_label: str, y_label: str) -> Html:
    """Return models in the plane of two rates that should both be low, with their intervals as crosses."""
    parts = [*_frame(x_label, y_label)]
    parts.append(tag("text", "better", x=_px(0) + 4, y=_py(0) - 5))
    for at, (_, x, y) in enumerate(points):
        across = {"x1": _px(x.low), "x2": _px(x.high), "y1": _py(y.value), "y2": _py(y.value)}
        along = {"x1": _px(x.value), "x2": _px(x.value), "y1": _py(y.low), "y2": _py(y.high)}
        parts += [tag("line", class_=f"reach {colour(at)}", **ends) for ends in (across, along)]
        parts.append(tag("circle", cx=_px(x.value), cy=_py(y.value), r=5, class_=f"dot {colour(at)}"))
    said = "; ".join(f"{point.name}: {percents(point.x.value)}, {percents(point.y.value)}" for point in points)
    return _plane(parts, f"{x_label} against {y_label}: {said}")


def confusion(table: dict[str, dict[str, int]], rows: str, columns: str, pick: Callable[[str, str], str]) -> Html:
    """Return a confusion matrix as a shaded table.

    Parameters
    ----------
    table
        Truth -> answer -> count.
    rows, columns
        Whose labels stand there.
    pick
        The `data-show` of a cell: what the list shows when the cell is chosen.
    """
    names = list(table)

    def cell(truth: str, answer: str) -> Html:
        n, total = table[truth].get(answer, 0), max(1, sum(table[truth].values()))
        inner = tag("a", f"{n:,}", href="#responses", class_="pick", data_show=pick(truth, answer))
        return tag("td", inner, class_=f"h{min(9, 10 * n // total)}{' hit' if truth == answer else ''}")

    head = tag(
        "tr", tag("th", f"{rows} ↓, {columns} →"), (tag("th", one.replace("_", " "), scope="col") for one in names)
    )
    body = (
        tag("tr", tag("th", truth.replace("_", " "), scope="row"), (cell(truth, answer) for answer in names))
        for truth in names
    )
    return wide_table(tag("thead", head), tag("tbody", body), class_="heat")


def figure(plot: Html, caption: str) -> Html:
    """Return a plot with the sentence that says how to read it."""
    return tag("figure", tag("div", plot, class_="figure-plot"), tag("figcaption", caption))


def _ticks(low: float, high: float) -> tuple[float, float, float]:
    return low, (low + high) / 2, high


def _x(value: float, low: float, high: float) -> float:
    share = (min(max(value, low), high) - low) / (high - low)
    return 6 + share * (_WIDTH - 12)


def _px(value: float) -> float:
    return _MARGIN + value * (_SIDE - _MARGIN - 10)


def _py(value: float) -> float:
    return _SIDE - _MARGIN - value * (_SIDE - _MARGIN - 10)


def _frame(x_label: str, y_label: str) -> Iterator[Html]:
    for at in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield tag("line", x1=_px(at), x2=_px(at), y1=_py(0), y2=_py(1), class_="rule")
        yield tag("line", x1=_px(0), x2=_px(1), y1=_py(at), y2=_py(at), class_="rule")
        yield tag("text", f"{100 * at:.0f}", x=_px(at), y=_py(0) + 14, text_anchor="middle")
        yield tag("text", f"{100 * at:.0f}", x=_px(0) - 5, y=_py(at) + 4, text_anchor="end")
    yield tag("text", f"{x_label}, %", x=_px(0.5), y=_SIDE - 8, text_anchor="middle")
    yield tag("text", f"{y_label}, %", transform=f"translate(11 {_py(0.5):.0f}) rotate(-90)", text_anchor="middle")


def _plane(parts: Iterable[Html], said: str) -> Html:
    return tag("svg", parts, viewBox=f"0 0 {_SIDE} {_SIDE}", role="img", aria_label=said)
