"""The page of `evaluate`: agreement of each method with the labels, category rates, and the tested responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from refusal_clf.report.evaluation import sheets
from refusal_clf.report.items import Listing
from refusal_clf.report.markup import Html, name, tag
from refusal_clf.report.page import page, section
from refusal_clf.report.pages.rates import plotted, show
from refusal_clf.report.pages.tables import sheet_sections
from refusal_clf.report.plots import Mark, confusion, figure, intervals, reliability, scale

_COUNTED = {"verdict": "noncompliance", "refusal": "refusal"}


def evaluation_page(title: str, document: dict[str, Any], listing: Listing) -> Html:
    """Return the page of an `evaluation.json` document."""
    folds = ", ".join(fold["left_out"] for fold in document["folds"])
    facts = [f"{document['n_examples']:,} labelled responses", document["protocol"], f"prompts: {document['part']}"]
    return page(title, _sections(document), facts=[*facts, name(f"folds: {folds}", 600)], listing=listing)


def _sections(document: dict[str, Any]) -> Iterator[Html]:
    for family in ("verdict", "refusal"):
        results = [result for result in document["results"] if result["family"] == family]
        if results:
            kind = {"verdict": "Verdicts", "refusal": "Refusal classes"}[family]
            yield section(
                f"{kind}: Cohen's kappa with the labels",
                _kappas(results),
                note="95 % bootstrap intervals; responses that no method was trained on.",
            )
            yield section(f"{kind}: confusion and reliability", (_picture(result) for result in results))
    yield from sheet_sections(sheets(document))


def _kappas(results: list[dict[str, Any]]) -> Html:
    head = tag(
        "tr",
        tag("th", "labels", scope="col"),
        tag("th", "method", scope="col"),
        tag("td", scale(shown="{:.1f}".format), class_="plot"),
        tag("th", "kappa", scope="col", class_="num"),
    )
    body = []
    for result in results:
        for at, row in enumerate(result["methods"]):
            kappa = row["kappa"]
            mark = Mark(kappa["estimate"], kappa["ci_low"], kappa["ci_high"], at)
            interval = f"[{kappa['ci_low']:.3f}, {kappa['ci_high']:.3f}]"
            body.append(
                tag(
                    "tr",
                    tag("th", name(result["labels"]), scope="row") if at == 0 else tag("td"),
                    tag("td", row["method"]),
                    tag("td", intervals([mark], shown=lambda value: f"{value:.2f}"), class_="plot"),
                    tag("td", f"{kappa['estimate']:.3f} ", tag("span", interval, class_="ci"), class_="num"),
                    class_="total" if at == 0 else None,
                )
            )
    return plotted(head, body)


def _picture(result: dict[str, Any]) -> Html:
    bins = [(row["probability"], row["rate"], row["n"]) for row in result["reliability"]]

    def pick(truth: str, answer: str) -> str:
        return show(label=truth, outcome=answer)

    return tag(
        "details",
        tag("summary", name(result["labels"]), f" (n={result['n']:,})"),
        tag(
            "div",
            confusion(result["confusion"], "label", "classifier", pick),
            figure(reliability(bins, _COUNTED[result["family"]]), "On the diagonal probabilities mean what they say."),
            class_="pair",
        ),
        open=True,
    )
