"""The page of `calibrate`: the rates that a judge would find, the agreement with it, and the responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from refusal_clf.report.calibration import group_name, sentences, sheets, shown_groups
from refusal_clf.report.items import Listing
from refusal_clf.report.markup import Html, name, tag
from refusal_clf.report.page import page, section
from refusal_clf.report.pages.rates import plotted, show
from refusal_clf.report.pages.tables import sheet_table
from refusal_clf.report.plots import Mark, confusion, figure, intervals, legend, reliability, scale
from refusal_clf.report.sheets import Sheet


def calibration_page(title: str, document: dict[str, Any], listing: Listing) -> Html:
    """Return the page of a `calibration.json` document."""
    return page(
        title,
        _sections(document),
        facts=[name(line, 600) for line in sentences(document)],
        warnings=document["notes"],
        listing=listing,
    )


def _sections(document: dict[str, Any]) -> Iterator[Html]:
    rates, agreement, *_ = sheets(document, details=True)
    judge = document["judge"]
    what = {"verdict": "compliance", "refusal": "full compliance"}[document["target"]]
    names = ["classifier alone", "judge's labels alone", "corrected", "Rogan and Gladen"]
    yield section(
        rates.title,
        legend(names),
        _plotted(document, rates),
        note="95 % intervals, for this file. Corrected: the classifier's answers on all responses, mended by "
        "the labels (prediction-powered inference).",
    )
    yield section(agreement.title, sheet_table(agreement))
    bins = [(row["probability"], row["rate"], row["n"]) for row in document["reliability"]]

    def pick(truth: str, answer: str) -> str:
        return show(label=truth, outcome=answer)

    matrix = confusion(document["confusion"], "judge", "classifier", pick)
    yield section(
        "Where they agree",
        tag(
            "div",
            tag("div", tag("h3", "Labels of ", name(judge), " and of the classifier"), matrix),
            figure(reliability(bins, what), "On the diagonal probabilities mean what they say; bars count the labels."),
            class_="pair",
        ),
        note="Shares of a row are shaded; a number shows its responses.",
    )


def _plotted(document: dict[str, Any], sheet: Sheet) -> Html:
    groups = list(shown_groups(document["groups"], details=True))
    head = tag(
        "tr",
        tag("th", "group", scope="col"),
        tag("td", scale(), class_="plot"),
        (tag("th", column, scope="col", class_="num") for column in sheet.columns[1:]),
    )
    body = []
    for group, cells in zip(groups, sheet.rows, strict=True):
        rate = group["classifier_rate"]
        marks = [Mark(rate, rate, rate, 0)] + [
            None if (found := group[key]) is None else Mark(found["estimate"], found["ci_low"], found["ci_high"], at)
            for at, key in enumerate(("judge_only", "corrected", "rogan_gladen"), start=1)
        ]
        body.append(
            tag(
                "tr",
                tag("th", name(group_name(group).strip()), scope="row"),
                tag("td", intervals(marks), class_="plot"),
                (
                    tag("td", cell, class_="num", data_label=column)
                    for column, cell in zip(sheet.columns[1:], cells[1:], strict=True)
                ),
                class_="subcategory" if group["subcategory"] else "category" if group["category"] else "total",
            )
        )
    return plotted(head, body)
