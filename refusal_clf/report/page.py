"""The skeleton of every `report.html`: one file that loads nothing, under a policy that lets nothing else run."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Final

from refusal_clf import __version__
from refusal_clf.report.items import Listing, packed
from refusal_clf.report.markup import Child, Html, join, name, tag
from refusal_clf.writing import REPORT_FILE, replacing

_KEYS: Final = (
    join(tag("kbd", "j"), " ", tag("kbd", "k"), " next and previous"),
    join(tag("kbd", "Enter"), " open or close"),
    join(tag("kbd", "/"), " search"),
    join(tag("kbd", "Esc"), " close"),
)


def page(
    title: str,
    sections: Iterable[Html],
    *,
    facts: Iterable[Child] = (),
    warnings: Iterable[str] = (),
    listing: Listing | None = None,
) -> Html:
    """Return a whole page.

    Parameters
    ----------
    title
        Its heading, any text.
    sections
        What it shows, in order (`section`).
    facts
        What was scored and by what, a phrase each.
    warnings
        What a reader must know before quoting a figure.
    listing
        The items, shown by the page's own script; None or an empty one for a page without.
    """
    script, style = _asset("page.js"), _asset("page.css")
    told = [text for text in warnings if text]
    shown = listing if listing is not None and listing.entries else None
    body = tag(
        "body",
        tag("header", tag("h1", name(title)), tag("p", _separated(facts), class_="facts")),
        tag(
            "main",
            tag("ul", (tag("li", name(text, limit=600)) for text in told), class_="warnings") if told else None,
            sections,
            None if shown is None else _items(shown),
        ),
        tag("footer", f"refusal-clf {__version__}. This page loads nothing and sends nothing."),
        None if shown is None else _raw("script", packed(shown), type="application/gzip", id="data"),
        None if shown is None else _raw("script", script),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(script, style)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{title} · refusal-clf"),
        _raw("style", style),
    )
    return Html("<!doctype html>\n" + tag("html", head, body, lang="en") + "\n")


def write_page(directory: Path, text: Html) -> Path:
    """Write `report.html` into a results folder, all or nothing, and return its path."""
    with replacing(directory / REPORT_FILE) as stream:
        stream.write(text)
    return directory / REPORT_FILE


def section(title: str, *children: Child | Iterable[Child], note: Child = None) -> Html:
    """Return a part of a page under its heading; `note` is a sentence on how to read it."""
    return tag(
        "section", tag("h2", name(title)), None if note is None else tag("p", note, class_="note"), join(*children)
    )


def _items(listing: Listing) -> Html:
    """Return the empty list; the script fills in filters and items."""
    n = len(listing.entries)
    drawn = "" if n == listing.total else f" ({n:,} of {listing.total:,}, drawn at random)"
    return tag(
        "section",
        tag("h2", f"Responses{drawn}"),
        tag("form", id="filters", role="search", aria_label="Filter the responses"),
        tag(
            "div",
            tag("p", id="count", role="status"),
            tag("button", "Export selection (JSONL)", type="button", id="export"),
            class_="bar",
        ),
        tag("p", _separated(_KEYS), class_="keys"),
        tag("noscript", tag("p", "The list of responses needs JavaScript; everything else does not.")),
        tag("ol", id="items"),
        tag("nav", id="pages", aria_label="Pages of responses"),
        id="responses",
    )


def _separated(facts: Iterable[Child]) -> Html:
    return join(*((fact if place == 0 else join(" · ", fact)) for place, fact in enumerate(facts)))


def _policy(script: str, style: str) -> str:
    """Return the content-security policy: this script and this style, and nothing from anywhere."""
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _raw(element: str, text: str, **attributes: str) -> Html:
    """Return a script or style element, whose text is not escaped but must not hold its end (`packed`, our files)."""
    return tag(element, Html(text), **attributes)


@cache
def _asset(file: str) -> str:
    return files("refusal_clf.report").joinpath(file).read_text(encoding="utf-8")
