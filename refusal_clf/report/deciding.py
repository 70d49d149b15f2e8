"""What decided, for the items of a page that a reader will most likely open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from refusal_clf.classifier import RefusalClassifier, TierChoice
from refusal_clf.desired import has_rubric
from refusal_clf.explanation import Explanation, Head, contribution, explain_all, least_certain
from refusal_clf.records import Completion
from refusal_clf.report.items import MAX_TEXT, Entry, Listing, Span

MOST: Final = {"full": 15, "fast": 300}
"""Items explained, by the tier that answered: an explanation of the encoder costs as much as some twenty answers, one
of the lexical tier a few milliseconds."""


def explained(listing: Listing, classifier: RefusalClassifier, tier: TierChoice) -> Listing:
    """Return the items with what decided (`Entry.spans`), the least certain `MOST` of each tier."""
    entries = list(listing.entries)
    places = []
    for answered_by, most in MOST.items():
        answered = [at for at, one in enumerate(entries) if one.item.verdict.tier == answered_by and one.item.response]
        places += [answered[at] for at in least_certain([entries[at].item.verdict for at in answered], most)]
    # Together go those of a length, as the encoder pads them to the longest.
    places.sort(key=lambda at: len(entries[at].item.response or ""))
    found = explain_all((_completion(entries[at]) for at in places), classifier, tier=tier)
    for at, explanation in zip(places, found, strict=True):
        entries[at] = replace(entries[at], spans=tuple(_spans(explanation)))
    return replace(listing, entries=entries)


def _completion(entry: Entry) -> Completion:
    verdict = entry.item.verdict
    return Completion(
        prompt=entry.item.prompt or "",
        response=entry.item.response or "",
        id=verdict.id,
        suite=verdict.suite,
        subset=verdict.subset,
        category=verdict.category,
        subcategory=verdict.subcategory,
        model=verdict.model,
    )


def _spans(explanation: Explanation) -> Iterator[Span]:
    """Yield what decided of the answer that the page leads with, the strongest with a weight of 1 or -1."""
    verdict = explanation.verdict
    head: Head = "verdict" if has_rubric(verdict.suite, verdict.subcategory) else "refusal"
    complied = "compliance" if head == "verdict" else "full_compliance"
    if head not in explanation.margins or explanation.margins[head].answer == "neither":
        return
    sign = -1 if explanation.margins[head].answer == complied else 1
    deciding = explanation.deciding(head)
    for span in sorted(deciding, key=lambda span: span.start):
        if span.end <= MAX_TEXT:
            yield Span(
                span.start, span.end, round(sign * contribution(span, head) / contribution(deciding[0], head), 2)
            )
