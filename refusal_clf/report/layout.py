"""What a report shows, before it is drawn: panels of rows, and the warnings under them.

The terminal and Markdown draw the same panels, so that they cannot tell different stories.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from refusal_clf.summary import Group, Report

COLUMNS: Final = ("n", "compliance rate", "refusal rate", "empty")

_ARROWS: Final = {"noncompliance": " ↓", "compliance": " ↑"}
"""Which way the compliance rate should move."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a panel; `cells` stand under `COLUMNS`, and `rate` is the compliance rate that they tell."""

    kind: Literal["category", "subcategory", "total", "macro"]
    name: str
    cells: tuple[str, ...]
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """One subset of one model: a title, the column names and the rows. Nothing in it is escaped yet."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def panels(report: Report, *, details: bool = False) -> list[Panel]:
    """Return a panel for each subset, and for each model if the completions name several.

    Parameters
    ----------
    details
        Whether subcategories are listed under their categories.
    """
    reports = report.by_model or (report,)
    return [
        _panel(list(groups), part, details=details, named=bool(report.by_model))
        for part in reports
        for _, groups in groupby(part.groups, key=lambda group: (group.suite, group.subset))
    ]


def warnings(report: Report) -> list[str]:
    """Return what a reader must know before quoting the rates, a phrase each."""
    texts = {
        "empty": "empty, left out of every rate",
        "uncertain": "uncertain: read them before quoting a rate on a small group",
        "non_english": "mostly not English, where the model is less accurate",
        "code_only": "code with hardly any prose, where the model is less accurate",
        "gibberish": "gibberish",
        "hidden_text": "with hidden text, which was removed",
        "obfuscated": "written in disguise (letters, encoding)",
        "grader_injection": "speaking to a classifier or grader",
        "contradictory": "with a refusal beside an answer, or hidden in one",
        "generic_rubric": "of an unknown benchmark or subcategory, judged under the generic rubric",
    }
    total = report.n + report.n_empty
    found = [
        f"{report.flags[flag]:,} of {total:,} ({100 * report.flags[flag] / total:.1f} %): {text}"
        for flag, text in texts.items()
        if report.flags.get(flag)
    ]
    if unplaced := _without_subcategory(report):
        found.append(
            f"{unplaced:,} of {total:,} ({100 * unplaced / total:.1f} %): CoCoNot rows without a subcategory, judged "
            "under the generic rubric (`refusal-clf data pull coconot` finds it by id or prompt)"
        )
    return found if report.n else ["no response could be scored", *found]


def totals(report: Report) -> str:
    """Return the line under the tables: how much was scored, and by which model."""
    line = f"responses scored: {report.n:,}"
    if report.by_model:
        line += f", of {len(report.by_model)} models"
    if report.classifier:
        line += f" · classifier: {report.classifier}" + (f" (sha256 {report.sha256[:12]})" if report.sha256 else "")
    return line


def percent(rate: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a rate as ``12.3 % [9.8, 15.2]``; a dash where nothing was counted."""
    if rate is None:
        return "–"
    interval = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * rate:.1f} %{interval}"


def _without_subcategory(report: Report) -> int:
    """Count the CoCoNot completions that no subcategory's group contains."""
    groups = [group for group in report.groups if group.suite == "coconot"]
    rows = sum(group.n + group.n_empty for group in groups if group.category is None and group.subcategory is None)
    return rows - sum(group.n + group.n_empty for group in groups if group.subcategory is not None)


def _panel(groups: list[Group], report: Report, *, details: bool, named: bool) -> Panel:
    total = groups[0]
    title = " · ".join(name for name in (total.suite, total.subset) if name)
    if named:
        title = f"{report.model or '(no model named)'} · {title}"
    columns = tuple(_column(name, total) for name in COLUMNS)
    return Panel(title, columns, tuple(_rows(groups, details=details)))


def _column(name: str, total: Group) -> str:
    if name != "compliance rate":
        return name
    # XSTest knows no rubric: its rate is that of a refusal class, and is called by its name.
    return ("full compliance" if total.suite == "xstest" else name) + _ARROWS.get(total.desired or "", "")


def _rows(groups: list[Group], *, details: bool) -> Iterator[Row]:
    total, *parts = groups
    for group in parts:
        if group.subcategory is None:
            yield Row("category", group.category or "", _cells(group), group.compliance_rate)
        elif details:
            yield Row("subcategory", group.subcategory, _cells(group), group.compliance_rate)
    yield Row("total", "all", _cells(total), total.compliance_rate)
    if sum(group.subcategory is None for group in parts) > 1:
        yield Row("macro", "macro average of categories", ("", percent(total.macro_compliance_rate), "", ""))


def _cells(group: Group) -> tuple[str, ...]:
    return (
        f"{group.n:,}",
        percent(group.compliance_rate, group.ci_low, group.ci_high),
        percent(group.refusal_rate),
        f"{group.n_empty:,}" if group.n_empty else "",
    )
