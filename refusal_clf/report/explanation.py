"""An explanation in a terminal: the response with its deciding parts marked, and what each part adds."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Final, TextIO

from rich.text import Text

from refusal_clf.explanation import Explanation, Head, Span, contribution
from refusal_clf.precedents import Precedent
from refusal_clf.report.escaping import printable
from refusal_clf.report.sheets import Sheet, print_sheets
from refusal_clf.report.terminal import make_console

_LISTED: Final = 8
_SPAN_CHARS: Final = 4_000
_FAINT: Final = 0.15
"""The share of the largest contribution from which a part is coloured."""

_HOW: Final = {
    "weights": "the weights of the words, as the lexical tier adds them up",
    "occlusion": "the change when a clause is left out, as the encoder and the lexical tier together see it",
}


def print_explanation(
    explanation: Explanation,
    precedents: Sequence[Precedent] = (),
    *,
    head: Head = "verdict",
    file: TextIO | None = None,
) -> None:
    """Print answers, the marked response, its weightiest parts and precedents (default: to standard output).

    What speaks for the answer of `head` is green and what speaks against it red, the deciding parts bold; without
    colour the deciding parts stand in double brackets.
    """
    stream = file or sys.stdout
    console = make_console(stream)
    for line in sentences(explanation):
        console.print(Text(line), soft_wrap=True)
    if explanation.spans:
        console.print()
        console.print(marked(explanation, head, colour=console.is_terminal and console.color_system is not None))
        console.print()
        print_sheets([contributions(explanation, head)], stream)
    if precedents:
        print_sheets([_precedents(precedents)], stream)


def sentences(explanation: Explanation) -> Iterator[str]:
    """Yield what was answered and how it is explained, a line each."""
    verdict = explanation.verdict
    if explanation.method == "rule":
        yield f"{verdict.verdict}: the response is empty, no word decided"
        return
    probabilities = {
        "verdict": f"p of noncompliance {verdict.p_noncompliance:.2f}",
        "refusal": f"p of a refusal {verdict.p_refusal:.2f}",
    }
    for head, margin in explanation.margins.items():
        line = f"{margin.answer} ({probabilities[head]}), log-odds {margin.log_odds:+.2f} against {margin.rival}"
        if margin.context is not None:
            line += f", of which {margin.context:+.2f} from prompt, rubric and length"
        yield line
    yield f"contributions in log-odds: {_HOW[explanation.method]}"


def marked(explanation: Explanation, head: Head, *, colour: bool) -> Text:
    """Return the response as one paragraph with its parts marked; an ellipsis stands for what is not read."""
    response, deciding = explanation.completion.response, explanation.deciding(head)
    largest = max((abs(contribution(span, head)) for span in explanation.spans), default=0.0)
    text, end = Text(), 0
    for span in explanation.spans:
        if end:
            text.append(" ")
        if response[end : span.start].strip():
            text.append("… ")
        words = printable(response[span.start : span.end], limit=_SPAN_CHARS)
        if colour:
            text.append(words, style=_style(span, head, largest, decides=span in deciding))
        else:
            text.append(f"[[{words}]]" if span in deciding else words)
        end = span.end
    if response[end:].strip():
        text.append(" …")
    return text


def contributions(explanation: Explanation, head: Head) -> Sheet:
    """Return the weightiest parts of the response as a table, the largest contribution first."""
    ranked = sorted(explanation.spans, key=lambda span: -abs(contribution(span, head)))
    return Sheet(
        "What adds most",
        ("words", *(margin.answer for margin in explanation.margins.values())),
        tuple(
            (
                printable(explanation.completion.response[span.start : span.end], limit=70),
                f"{span.verdict:+.2f}",
                f"{span.refusal:+.2f}",
            )
            for span in ranked[:_LISTED]
        ),
        names=1,
    )


def _style(span: Span, head: Head, largest: float, *, decides: bool) -> str:
    value = contribution(span, head)
    if abs(value) < _FAINT * largest:
        return ""
    return ("bold " if decides else "") + ("green" if value > 0 else "red")


def _precedents(precedents: Sequence[Precedent]) -> Sheet:
    return Sheet(
        "Labelled responses most like it",
        ("response", "labelled", "by", "similarity"),
        tuple(
            (
                printable(precedent.label.completion.response, limit=60),
                " / ".join(filter(None, (precedent.label.verdict, precedent.label.refusal))),
                printable(precedent.label.judge, limit=20),
                f"{precedent.similarity:.2f}",
            )
            for precedent in precedents
        ),
        names=3,
    )
