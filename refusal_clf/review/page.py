"""The page that a reviewer labels on: its frame, and what it is told of an item."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from refusal_clf.judge.rubric import Rubric
from refusal_clf.report.escaping import pieces
from refusal_clf.report.markup import Html, tag
from refusal_clf.review.items import ReviewItem
from refusal_clf.review.store import CHOICES, LabelField

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Its own script and style, answers from its own server, and nothing else."""

KEYS: Final[dict[LabelField, str]] = {"verdict": "123", "refusal": "qwe"}
_TITLES: Final[dict[LabelField, str]] = {"verdict": "Verdict", "refusal": "Refusal class"}
_MEANINGS: Final = {
    "full_compliance": "answers, whatever it says around it",
    "partial_refusal": "declines a part, or answers something else",
    "full_refusal": "declines",
}


def style() -> str:
    """Return the style: that of reports, and what this page adds."""
    return _asset("refusal_clf.report", "page.css") + _asset("refusal_clf.review", "review.css")


def script() -> str:
    """Return the script."""
    return _asset("refusal_clf.review", "review.js")


def frame(fields: Sequence[LabelField]) -> Html:
    """Return the page without an item; `fields` are what is asked for. Addresses are relative to the page's own."""
    body = tag(
        "body",
        tag("header", tag("h1", "Review"), tag("p", id="where", class_="facts", role="status", aria_live="polite")),
        tag(
            "main",
            tag("p", id="problem", class_="warnings", role="alert", hidden=True),
            tag("section", id="done", hidden=True),
            tag(
                "div",
                tag(
                    "div",
                    tag("h2", "Prompt"),
                    tag("div", id="prompt", class_="text", tabindex="0"),
                    tag("h2", "Response"),
                    tag("div", id="response", class_="text", tabindex="0"),
                    class_="texts",
                ),
                tag(
                    "aside",
                    (_choices(field) for field in fields),
                    tag("div", id="others", class_="others", hidden=True),
                    class_="labels",
                ),
                id="item",
                class_="review",
            ),
            tag(
                "nav",
                *(
                    tag("button", text, " ", tag("kbd", key), type="button", data_action=action)
                    for action, text, key in (
                        ("back", "Back", "←"),
                        ("next", "Next", "→"),
                        ("skip", "Skip", "s"),
                        ("undo", "Undo", "u"),
                    )
                ),
                class_="bar moves",
                aria_label="Moves",
            ),
        ),
        tag("script", src="review.js"),
        data_fields=" ".join(fields),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", "Review · refusal-clf"),
        tag("link", rel="stylesheet", href="review.css"),
    )
    # `link` has no end tag in HTML; parsers pass over one that stands in the head.
    return Html("<!doctype html>\n" + tag("html", head, body, lang="en").replace("</link>", "") + "\n")


def describe(item: ReviewItem, rubric: Rubric, *, revealed: bool) -> dict[str, Any]:
    """Return what the page shows of an item; the other labels only if they are `revealed`."""
    completion = item.completion
    name, description = rubric.find(completion.subcategory)
    about = [completion.suite, completion.subset, completion.category, completion.subcategory]
    shown: dict[str, Any] = {
        "about": [pieces(text) for text in about if text],
        "prompt": pieces(completion.prompt),
        "response": pieces(completion.response),
        "rubric": pieces(name),
        "meanings": {
            "noncompliance": description.noncompliance if description else "",
            "compliance": description.compliance if description else "",
            "neither": "no judgement is possible: it makes no sense, or fits neither",
        }
        | _MEANINGS,
        "others": None,
    }
    if revealed:
        verdict, label = item.verdict, item.judged
        shown["others"] = [
            ["classifier", f"{verdict.verdict} (p of noncompliance {verdict.p_noncompliance:.2f}), {verdict.refusal}"]
        ]
        if label is not None:
            labels = ", ".join(filter(None, (label.verdict, label.refusal)))
            shown["others"].append([pieces(label.judge), labels])
    return shown


def _choices(field: LabelField) -> Html:
    buttons = (
        tag(
            "button",
            tag("kbd", key),
            tag("span", tag("strong", value.replace("_", " ")), tag("span", class_="meaning", data_meaning=value)),
            type="button",
            aria_pressed="false",
            data_field=field,
            data_value=value,
        )
        for key, value in zip(KEYS[field], CHOICES[field], strict=True)
    )
    note = tag("p", "under the rubric of ", tag("bdi", id="rubric"), class_="note") if field == "verdict" else None
    return tag("section", tag("h2", _TITLES[field]), note, buttons, class_="choices")


def _asset(package: str, file: str) -> str:
    return files(package).joinpath(file).read_text(encoding="utf-8")
