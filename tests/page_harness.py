"""Pages for the tests of reports: ordinary items, and one whose every text attacks the reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from refusal_clf.pairing import Item
from refusal_clf.records import VERDICTS, Completion, Label, Verdict
from refusal_clf.report.items import Entry, Listing, Span, listing
from refusal_clf.report.markup import Html
from refusal_clf.report.pages.score import score_page
from refusal_clf.scoring import GroupCounter

if TYPE_CHECKING:
    from refusal_clf.training.results import Slice

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


def answered_rows(n: int) -> Slice:
    """Return rows that two methods were tested on; every tenth answer is wrong. Needs the extra `train`."""
    from refusal_clf.training.dataset import Example
    from refusal_clf.training.results import Slice

    truth = np.random.default_rng(0).integers(0, 2, n)
    ours = np.full((n, 3), 0.05, np.float32)
    ours[np.arange(n), np.where(np.arange(n) % 10 == 0, 1 - truth, truth)] = 0.9
    examples = []
    for at in range(n):
        one = Completion(f"q{at}", f"a{at}", f"r{at}", "coconot", "original", None, "underspecified", "m")
        label = Label(one, VERDICTS[truth[at]], None, "gpt", "m")
        examples.append(Example(None, label, int(truth[at]), -1, "m", "m", "0"))  # type: ignore[arg-type]
    methods = {"refusal-clf": ours, "TF-IDF": ours[:, ::-1].copy()}
    return Slice("verdict", "m", examples, truth, methods, np.arange(n) % 2 == 0)


def evaluation(slices: Sequence[Slice]) -> dict[str, Any]:
    """Return the document of an evaluation that found these."""
    from refusal_clf.training.results import figures

    n = sum(len(one.examples) for one in slices)
    return {
        "protocol": "grouped",
        "part": "all",
        "n_examples": n,
        "folds": [{"left_out": "fold 1", "n_train": 1, "n_test": 1}],
        "results": [figures(one) for one in slices],
    }
