"""Which words decided: what each part of a response adds to the log-odds of the answer.

The log-odds of an answer are those against one rival, log(p_answer / p_rival): a difference of two scores, which is
linear in the scores of both tiers. Compliance and noncompliance are each other's rivals, and `neither` has the likelier
of them; a refusal of either kind has `full_compliance`, which has the likelier refusal.

An answer of the lexical tier is explained exactly, by the weights of the n-grams that stand in each word. One of the
encoder is explained by occlusion (Zeiler and Fergus 2014, arXiv:1311.2901, section 4.2): the log-odds of the whole
response less those of the response without a sentence or clause, as both tiers and their blend give them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from refusal_clf.classifier import RefusalClassifier, TierChoice
from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, Completion, RefusalName, Verdict
from refusal_clf.runtime.layout import HeadConfig
from refusal_clf.text import Prepared, prepare, trace
from refusal_clf.tracing import Traced

Floats = NDArray[np.floating[Any]]
Head = Literal["verdict", "refusal"]

HEADS: Final[dict[Head, tuple[str, ...]]] = {"verdict": VERDICTS, "refusal": REFUSAL_CLASSES}
MAX_SEGMENTS: Final = 32
"""Parts of a response that are left out in turn; the middle of one with more is one part, since the encoder reads
head and tail."""

_TAIL_SEGMENTS: Final = 8
_TOGETHER: Final = 16
_LONG: Final = 90
"""Characters from which a sentence is cut into clauses, of at least `_SHORT` each."""
_SHORT: Final = 24
_WORD: Final = re.compile(r"\S+")
_SENTENCE: Final = re.compile(r"(?:[.!?…。！？]+[\"'”’»)\]*_]*(?:\s+|\Z))|(?<=[。！？])")
_CLAUSE: Final = re.compile(r"[,;:]\s+|\s-\s")


@dataclass(frozen=True, slots=True)
class Margin:
    """The log-odds of one head's answer against its rival, natural logarithm.

    `context` is the part that no word of the response adds: prompt, rubric, length and bias. None under occlusion,
    whose contributions do not add up to anything.
    """

    answer: str
    rival: str
    log_odds: float
    context: float | None


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of the original response, and what they add to the log-odds of each head's answer."""

    start: int
    end: int
    verdict: float
    refusal: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a completion got its verdict and refusal class.

    Attributes
    ----------
    method
        `weights`: exact contributions of words; `occlusion`: of sentences and clauses; `rule`: an empty response,
        which has no spans and no margins.
    spans
        In the order of the text, without overlap. What the classifier does not read (a reasoning block, the middle of
        a long response) is in none.
    """

    completion: Completion
    verdict: Verdict
    method: Literal["weights", "occlusion", "rule"]
    margins: dict[Head, Margin]
    spans: tuple[Span, ...]

    def deciding(self, head: Head = "verdict", *, most: int = 5) -> list[Span]:
        """Return the fewest spans that hold half of all that speaks for the answer, `most` at most, largest first."""
        ranked = sorted(self.spans, key=lambda span: -contribution(span, head))
        wanted = sum(max(0.0, contribution(span, head)) for span in ranked) / 2
        chosen: list[Span] = []
        for span in ranked[:most]:
            if wanted <= 0 or contribution(span, head) <= 0:
                break
            chosen.append(span)
            wanted -= contribution(span, head)
        return chosen

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict's record with `method`, `log_odds` by head, and `spans` with their text."""
        response = self.completion.response
        return {
            **self.verdict.to_dict(),
            "method": self.method,
            "log_odds": {
                head: {
                    "answer": margin.answer,
                    "rival": margin.rival,
                    "value": round(margin.log_odds, 4),
                    "context": None if margin.context is None else round(margin.context, 4),
                }
                for head, margin in self.margins.items()
            },
            "spans": [
                {
                    "start": span.start,
                    "end": span.end,
                    "text": response[span.start : span.end],
                    "verdict": round(span.verdict, 4),
                    "refusal": round(span.refusal, 4),
                }
                for span in self.spans
            ],
        }


def contribution(span: Span, head: Head) -> float:
    """Return what a span adds to the log-odds of one head's answer."""
    return span.verdict if head == "verdict" else span.refusal


def explain(completion: Completion, classifier: RefusalClassifier, *, tier: TierChoice = "auto") -> Explanation:
    """Explain the classifier's answer for one completion.

    Parameters
    ----------
    tier
        Who answers, as in `RefusalClassifier.stream`: `fast` explains the lexical tier word by word, `full` the encoder
        clause by clause, `auto` whichever the classifier takes.
    """
    return next(explain_all([completion], classifier, tier=tier))


def explain_all(
    completions: Iterable[Completion], classifier: RefusalClassifier, *, tier: TierChoice = "auto"
) -> Iterator[Explanation]:
    """Yield an explanation for each completion, in order.

    Up to `MAX_SEGMENTS` variants of a response go through the encoder, those of several responses together: of many
    completions, explain those that somebody will read (`least_certain`).
    """
    source = iter(completions)
    while chunk := list(islice(source, _TOGETHER)):
        verdicts = classifier.predict(chunk, tier=tier)
        pairs = list(zip(chunk, verdicts, strict=True))
        occluded = _by_occlusion([pair for pair in pairs if pair[1].tier == "full"], classifier)
        for completion, verdict in pairs:
            if verdict.tier == "full":
                yield next(occluded)
            elif verdict.tier == "fast":
                yield _by_weights(completion, verdict, classifier)
            else:
                yield Explanation(completion, verdict, "rule", {}, ())


def least_certain(verdicts: Sequence[Verdict], most: int) -> list[int]:
    """Return the places of up to `most` verdicts that are worth an explanation, the least certain first.

    These are the ones flagged `uncertain`, then the others by how near `p_noncompliance` is to a half.
    """
    answered = [at for at, verdict in enumerate(verdicts) if verdict.p_noncompliance is not None]
    return sorted(answered, key=lambda at: ("uncertain" not in verdicts[at].flags, _certainty(verdicts[at])))[:most]


def segments(text: str) -> list[tuple[int, int]]:
    """Cut a prepared response into sentences, and long ones into clauses: [start, end) spans that cover all of it."""
    cuts = [0]
    for sentence in [*(match.end() for match in _SENTENCE.finditer(text)), len(text)]:
        if sentence - cuts[-1] > _LONG:
            clauses = (match.end() for match in _CLAUSE.finditer(text, cuts[-1], sentence))
            for clause in clauses:
                if clause - cuts[-1] >= _SHORT and sentence - clause >= _SHORT:
                    cuts.append(clause)
        # The number of a list's item belongs to what follows it.
        if sentence > cuts[-1] and (sentence == len(text) or any(map(str.isalpha, text[cuts[-1] : sentence]))):
            cuts.append(sentence)
    if len(cuts) > MAX_SEGMENTS + 1:
        cuts = cuts[: MAX_SEGMENTS - _TAIL_SEGMENTS] + cuts[-_TAIL_SEGMENTS - 1 :]
    return list(pairwise(cuts))


def _by_weights(completion: Completion, verdict: Verdict, classifier: RefusalClassifier) -> Explanation:
    """Explain the lexical tier: each n-gram's weight, spread evenly over its characters, by words."""
    text, traced = prepare(completion), trace(completion)
    located, shares = classifier.lexical.shares(text)
    bias = classifier.lexical.bias.astype(np.float64)
    words = [match.span() for match in _WORD.finditer(text.response)]
    starts = [0, *(start for start, _ in words[1:])]
    inside = located.start >= 0
    margins: dict[Head, Margin] = {}
    parts: dict[Head, Floats] = {}
    for head, columns, config in _heads(classifier):
        scores = config.fast.lexical * (shares.sum(axis=0) + bias)[columns]
        answer, rival = _answer_and_rival(head, verdict, scores)
        values = config.fast.lexical * (shares[:, columns][:, answer] - shares[:, columns][:, rival])
        by_character = _spread(values[inside], located.start[inside], located.end[inside], len(text.response))
        parts[head] = np.add.reduceat(by_character, starts)
        log_odds = float(scores[answer] - scores[rival])
        names = HEADS[head]
        margins[head] = Margin(names[answer], names[rival], log_odds, log_odds - float(values[inside].sum()))
    return Explanation(completion, verdict, "weights", margins, tuple(_spans(traced, words, parts)))


def _by_occlusion(pairs: Sequence[tuple[Completion, Verdict]], classifier: RefusalClassifier) -> Iterator[Explanation]:
    """Explain answers of the blended tiers, the variants of all responses in one go through the encoder."""
    texts = [prepare(completion) for completion, _ in pairs]
    cuts = [segments(text.response) for text in texts]
    variants = [variant for text, spans in zip(texts, cuts, strict=True) for variant in _variants(text, spans)]
    if not variants:
        return
    lexical, encoder = classifier.logits(variants)
    first = 0
    for (completion, verdict), spans in zip(pairs, cuts, strict=True):
        rows = slice(first, first + 1 + len(spans))
        first = rows.stop
        margins: dict[Head, Margin] = {}
        parts: dict[Head, Floats] = {}
        for head, columns, config in _heads(classifier):
            scores = config.full.scores(encoder[rows, columns], lexical[rows, columns])
            answer, rival = _answer_and_rival(head, verdict, scores[0])
            log_odds = scores[:, answer] - scores[:, rival]
            names = HEADS[head]
            margins[head] = Margin(names[answer], names[rival], float(log_odds[0]), None)
            parts[head] = log_odds[0] - log_odds[1:]
        yield Explanation(completion, verdict, "occlusion", margins, tuple(_spans(trace(completion), spans, parts)))


def _variants(text: Prepared, spans: Iterable[tuple[int, int]]) -> Iterator[Prepared]:
    """Yield the text, and the text without each of the spans."""
    yield text
    for start, end in spans:
        yield replace(text, response=(text.response[:start] + text.response[end:]).strip())


def _heads(classifier: RefusalClassifier) -> tuple[tuple[Head, slice, HeadConfig], ...]:
    n = len(VERDICTS)
    return ("verdict", slice(0, n), classifier.config.verdict), ("refusal", slice(n, None), classifier.config.refusal)


def _answer_and_rival(head: Head, verdict: Verdict, scores: Floats) -> tuple[int, int]:
    """Return the columns of what was answered and of what it is held against; `scores` has shape (3,)."""
    if head == "verdict":
        answer, rivals = (
            VERDICTS.index(verdict.verdict),
            (VERDICTS.index("noncompliance"), VERDICTS.index("compliance")),
        )
        return answer, max((at for at in rivals if at != answer), key=lambda at: float(scores[at]))
    answer = REFUSAL_CLASSES.index(cast("RefusalName", verdict.refusal))
    return answer, 0 if answer else 1 + int(scores[1:].argmax())


def _spread(values: Floats, start: NDArray[np.int64], end: NDArray[np.int64], length: int) -> Floats:
    """Spread each value evenly over the characters [start, end), and return the sums, shape (length,)."""
    steps = np.zeros(length + 1)
    np.add.at(steps, start, values / (end - start))
    np.subtract.at(steps, end, values / (end - start))
    return np.cumsum(steps[:-1])


def _spans(traced: Traced, places: Iterable[tuple[int, int]], parts: Mapping[Head, Floats]) -> Iterator[Span]:
    """Yield spans of the original response; parts that stand in one character there are one span."""
    last: Span | None = None
    for (start, end), verdict, refusal in zip(places, parts["verdict"], parts["refusal"], strict=True):
        shown = start + len(str(traced)[start:end].rstrip())
        begins, ends = traced.span(start, max(shown, start + 1))
        if last is not None and begins < last.end:
            last = Span(last.start, max(last.end, ends), last.verdict + verdict, last.refusal + refusal)
            continue
        if last is not None:
            yield last
        last = Span(begins, ends, float(verdict), float(refusal))
    if last is not None:
        yield last


def _certainty(verdict: Verdict) -> float:
    return abs((verdict.p_noncompliance or 0.0) - 0.5)
