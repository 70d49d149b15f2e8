"""The items of a page: what its list of responses shows, filters by and exports."""

from __future__ import annotations

import gzip
import json
import random
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from refusal_clf import rubrics
from refusal_clf.desired import outcome, p_declined
from refusal_clf.pairing import Item, Pair

MAX_ITEMS: Final = 20_000
"""More would make a page that browsers open slowly; what is left out is drawn at random, and said."""
MAX_TEXT: Final = 20_000
"""Characters of a prompt or a response that a page holds; the end of a longer one is cut, and said."""

Change = Literal["worse", "better", "changed", "same"]


class Span(NamedTuple):
    """Characters of the response that decided: `start` to `end`, in code points of the text that the page holds.

    `weight` is in [-1, 1]: how far it pulled towards noncompliance (above 0) or compliance (below 0).
    """

    start: int
    end: int
    weight: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of a page.

    Attributes
    ----------
    item
        The verdict, and the texts where they are at hand.
    label, agrees
        What the judge or a person said of it, and whether the classifier says the same; None without a label.
    before
        The same item in the baseline.
    change
        From the baseline to here: `worse` and `better` where it is known what is desired, else `changed`.
    spans
        What decided, where it was explained.
    """

    item: Item
    label: str | None = None
    agrees: bool | None = None
    before: Item | None = None
    change: Change | None = None
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """The items of a page, of `total`; `judge` and `baseline` name where labels and earlier verdicts come from."""

    entries: Sequence[Entry]
    total: int
    judge: str | None = None
    baseline: str | None = None


@dataclass(slots=True)
class Sampler:
    """Keeps all entries of a stream, or `limit` of them drawn uniformly if there are more, in their order.

    Source: reservoir sampling, algorithm R (Vitter 1985, "Random Sampling with a Reservoir", ACM TOMS 11:1).
    """

    limit: int = MAX_ITEMS
    total: int = 0
    _kept: list[tuple[int, Entry]] = field(default_factory=list)
    _random: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311  # a sample, no secret

    def add(self, entry: Entry) -> None:
        """Offer the next entry."""
        if len(self._kept) < self.limit:
            self._kept.append((self.total, entry))
        elif (place := self._random.randrange(self.total + 1)) < self.limit:
            self._kept[place] = (self.total, entry)
        self.total += 1

    def listing(self, *, judge: str | None = None, baseline: str | None = None) -> Listing:
        """Return what was kept."""
        entries = [entry for _, entry in sorted(self._kept, key=lambda kept: kept[0])]
        return Listing(entries, self.total, judge, baseline)


def listing(entries: Iterable[Entry], *, judge: str | None = None, baseline: str | None = None) -> Listing:
    """Return the items of a page, at most `MAX_ITEMS` of them."""
    sampler = Sampler()
    for entry in entries:
        sampler.add(entry)
    return sampler.listing(judge=judge, baseline=baseline)


def changed(pair: Pair, desired: str | None) -> Change:
    """Return what became of an item since the baseline."""
    if not pair.answered or pair.before.complied == pair.after.complied:
        return "same"
    if desired is None:
        return "changed"
    return "worse" if pair.wrong(desired)[1] else "better"


def packed(listing: Listing) -> str:
    """Return the items as the page's data block holds them: JSON with column names and a row for each item, packed.

    Columns without any value are left out. Packing (gzip, base64) makes the block a third as large, and leaves no
    character in it that could end the block or open another, whatever the texts hold.
    """
    rows = list(_rows(listing.entries))
    names = [name for name in (rows[0] if rows else ()) if any(row[name] not in (None, []) for row in rows)]
    document = {
        "judge": listing.judge,
        "baseline": listing.baseline,
        "total": listing.total,
        "columns": names,
        "rows": [[row[name] for name in names] for row in rows],
    }
    # Escapes keep what UTF-8 cannot hold, half of a surrogate pair for example.
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _rows(entries: Iterable[Entry]) -> Iterator[dict[str, Any]]:
    seen: dict[str, int] = {}
    for number, entry in enumerate(entries, start=1):
        verdict, before = entry.item.verdict, entry.before
        category, subcategory = rubrics.canonical_group(verdict.category, verdict.subcategory)
        key = verdict.id or f"row-{number}"
        seen[key] = seen.get(key, 0) + 1
        yield {
            # What a link to the item ends in: an id that several models share is told apart by a number.
            "key": key if seen[key] == 1 else f"{key}~{seen[key]}",
            "id": verdict.id,
            "suite": verdict.suite,
            "subset": verdict.subset,
            "category": category,
            "subcategory": subcategory,
            "model": verdict.model,
            "outcome": outcome(verdict),
            "p_declined": _rounded(p_declined(verdict)),
            # An evaluation of refusal classes alone gives no verdict.
            "verdict": None if verdict.p_noncompliance is None else verdict.verdict,
            "p_noncompliance": _rounded(verdict.p_noncompliance),
            "refusal": verdict.refusal,
            "p_refusal": _rounded(verdict.p_refusal),
            "flags": list(verdict.flags),
            "label": entry.label,
            "agrees": entry.agrees,
            "before": None if before is None else outcome(before.verdict),
            "p_declined_before": None if before is None else _rounded(p_declined(before.verdict)),
            "change": entry.change,
            "prompt": _clipped(entry.item.prompt or (before.prompt if before else None)),
            "response": _clipped(entry.item.response),
            "response_before": None if before is None else _clipped(before.response),
            "spans": [list(span) for span in entry.spans],
        }


def _rounded(probability: float | None) -> float | None:
    return None if probability is None else round(probability, 4)


def _clipped(text: str | None) -> str | None:
    if text is None or len(text) <= MAX_TEXT:
        return text
    return f"{text[:MAX_TEXT]}\n… ({len(text) - MAX_TEXT:,} more characters in the file)"
