"""Reports of every command made of a few strings, which stand for every name and text that a user's files can hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from refusal_clf.calibration.assessment import assess
from refusal_clf.calibration.document import calibration_document
from refusal_clf.calibration.matching import Scored
from refusal_clf.comparison import Gate
from refusal_clf.gate import Rules, check
from refusal_clf.judge.rubric import load_rubric
from refusal_clf.limits import Limit
from refusal_clf.pairing import Item, pair
from refusal_clf.records import Completion, Label, Verdict
from refusal_clf.report.items import Entry, Span, listing
from refusal_clf.report.markup import Html
from refusal_clf.report.pages.calibration import calibration_page
from refusal_clf.report.pages.gate import gate_page
from refusal_clf.report.pages.score import score_page
from refusal_clf.report.pages.side_by_side import side_by_side_page
from refusal_clf.review.items import ReviewItem
from refusal_clf.review.page import describe
from refusal_clf.scoring import GroupCounter
from refusal_clf.side_by_side import SideBySide, side_by_side
from refusal_clf.summary import Report

HUGE = 25_000
"""Characters to which a string that ends in U+0002 is repeated: more than a page holds of a text."""
KINDS = ("score", "check", "calibrate", "compare")
_ROWS = 4


def strings_of(data: bytes) -> list[str]:
    """Cut bytes at U+0001 into strings; what is no UTF-8 becomes lone surrogates."""
    parts = data.decode("utf-8", "surrogateescape").split("\x01")
    strings = []
    for part in parts[:12]:
        unit = part.removesuffix("\x02")
        strings.append(unit if unit == part or not unit else unit * (HUGE // len(unit)))
    return strings


class Reports:
    """What a run of `_ROWS` answers gives under each command; strings are taken in turn."""

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings, self._next = strings, 0
        # CoCoNot's names have directions and tables of their own, others are names of unknown benchmarks.
        self.judge, self.title = self._take() or "judge", self._take()
        rows = [self._row(number) for number in range(_ROWS)]
        self.after = [Item(verdict, prompt, response) for verdict, prompt, response in rows]
        self.before = [
            Item(replace(item.verdict, verdict="noncompliance", refusal="full_refusal"), item.prompt, self._take())
            for item in self.after
        ]
        self.note = self._take()

    def _take(self) -> str:
        self._next += 1
        return self._strings[self._next % len(self._strings)]

    def _row(self, number: int) -> tuple[Verdict, str, str]:
        coconot = number % 2 == 0
        verdict = Verdict(
            id=f"{number}{self._take()}",
            suite="coconot" if coconot else self._take(),
            subset="original" if coconot else self._take(),
            category=self._take(),
            subcategory=self._take(),
            model=self._take(),
            verdict="compliance",
            p_noncompliance=0.1 + number / 10,
            refusal="full_compliance",
            p_refusal=0.2,
            tier="full",
            flags=(self._take(),),
        )
        return verdict, self._take(), self._take()

    @cached_property
    def counter(self) -> GroupCounter:
        counter = GroupCounter()
        for item in self.after:
            counter.add(item.verdict)
        return counter

    @cached_property
    def report(self) -> Report:
        return self.counter.report(self.title, "0123456789abcdef")

    @cached_property
    def gate(self) -> Gate:
        bound = Limit(suite=self.after[1].verdict.suite, max_compliance=0.0)
        rules = Rules(alpha=0.5, min_pairs=1, desired="noncompliance", limits=(bound,))
        found = check(pair(self.before, self.after), rules)
        return replace(found, notes=(*found.notes, self.note))

    @cached_property
    def calibration(self) -> dict[str, Any]:
        scored = [Scored(item.verdict) for item in self.after]
        labels = {
            place: Label(Completion(), "compliance" if place % 2 else "neither", None, self.judge)
            for place in range(_ROWS)
        }
        return calibration_document(
            replace(assess(scored, labels, "verdict"), notes=(self.note,)),
            judge=self.judge,
            classifier={"name": self.title, "sha256": "0123456789abcdef"},
            matched=self.note,
            human=None,
            drift=None,
        )

    @cached_property
    def compared(self) -> SideBySide:
        return side_by_side({f"1{self.title}": self.before, f"2{self.note}": self.after})

    @property
    def texts(self) -> list[tuple[str | None, str | None]]:
        """The prompts and responses that pages list."""
        return [(now.prompt or old.prompt, now.response) for now, old in zip(self.after, self.before, strict=True)]

    def page(self, kind: str) -> Html:
        """Return the page of a command."""
        spans = (Span(0, 1, 1.0),)
        pairs = zip(self.after, self.before, strict=True)
        entries = [Entry(now, self.judge, False, old, "worse", spans) for now, old in pairs]
        listed = listing(entries, judge=self.judge, baseline=self.title)
        if kind == "score":
            return score_page(self.title, self.report, listed, baseline=(self.title, self.report.groups))
        if kind == "check":
            return gate_page(self.title, self.gate, listed)
        if kind == "calibrate":
            return calibration_page(self.title, self.calibration, listed)
        return side_by_side_page(self.compared, listed)

    def reviewed(self) -> Iterator[tuple[Completion, str, dict[str, Any]]]:
        """Yield what `review` tells of each item, with the completion and whose label it is."""
        rubric = load_rubric()
        for item in self.after:
            verdict = item.verdict
            completion = Completion(
                item.prompt or "", item.response or "", verdict.id, verdict.suite, verdict.subset, verdict.category
            )
            label = Label(completion, "compliance", None, self.judge)
            yield completion, self.judge, describe(ReviewItem(completion, verdict, label), rubric, revealed=True)
