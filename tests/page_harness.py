"""Pages for the tests of reports: ordinary items, and one whose every text attacks the reader."""

from __future__ import annotations

from refusal_clf.pairing import Item
from refusal_clf.records import Verdict
from refusal_clf.report.items import Entry, Listing, Span, listing
from refusal_clf.report.markup import Html
from refusal_clf.report.pages.score import score_page
from refusal_clf.scoring import GroupCounter

HOSTILE = (
    "</script><script>window.ran = 1; alert(1)</script><img src=x onerror='window.ran = 2'>"
    '<svg onload=alert(3)><a href="javascript:alert(4)">click</a><style>*{display:none}</style>'
    '<!-- <script> ]]> \u202etxet\u202c \u2066x\u2069 \x1b[31mred\x1b[0m\x00\ud800 =HYPERLINK("http://127.0.0.1:9/") '
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css> {{7*7}} ${7*7} %s"
)


def entry(number: int, **more: object) -> Entry:
    refused = number % 3 == 0
    verdict = Verdict(
        id=f"r{number}",
        suite="coconot",
        subset="contrast" if number % 4 == 0 else "original",
        category=None,
        subcategory=["underspecified", "privacy violations"][number % 2],
        model="m",
        verdict="noncompliance" if refused else "compliance",
        p_noncompliance=0.55 if number % 5 == 0 else 0.97 if refused else 0.03,
        refusal="full_refusal" if refused else "full_compliance",
        p_refusal=0.9 if refused else 0.1,
        tier="full",
        flags=("uncertain",) if number % 5 == 0 else (),
    )
    label = "noncompliance" if number % 2 else "compliance"
    before = Item(verdict, f"question {number}", "An earlier answer.")
    item = Item(verdict, f"question {number}", f"Answer {number}: I can't help with that. 🦊 Sorry.")
    spans = (Span(item.response.index("I can't"), item.response.index(" 🦊"), 0.8),)
    return Entry(item, label, label == verdict.verdict, before, "same", spans)


def hostile() -> Entry:
    verdict = Verdict(
        HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, "compliance", 0.1, None, 0.1, "full", (HOSTILE,)
    )
    item = Item(verdict, HOSTILE, HOSTILE)
    return Entry(item, HOSTILE, False, item, "worse")


def page_of(listed: Listing, title: str = "run") -> Html:
    counter = GroupCounter()
    for one in listed.entries:
        counter.add(one.item.verdict)
    report = counter.report(title, "0123456789abcdef")
    return score_page(title, report, listed, baseline=(title, report.groups))


def ordinary(n: int = 120) -> Html:
    return page_of(listing([entry(number) for number in range(n)], judge="gpt", baseline="old"))


def attacked() -> Html:
    return page_of(listing([hostile(), entry(1)], judge=HOSTILE, baseline=HOSTILE), HOSTILE)
