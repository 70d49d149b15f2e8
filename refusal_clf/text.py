"""Text preparation: one completion -> the text that the model reads. Training and inference share it.

A model directory records `PREPARATION_VERSION`; raise it whenever a change here alters what a model sees.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, cast

from refusal_clf import rubrics
from refusal_clf.disguise import INVISIBLE, reveal
from refusal_clf.language import mostly_not_english
from refusal_clf.records import Completion
from refusal_clf.tracing import Traced, fold, replace_spans, squeeze, substitute
from refusal_clf.unusual import code_only, gibberish

PREPARATION_VERSION: Final = 2

HEAD_CHARS: Final = 2400
TAIL_CHARS: Final = 1200
"""What is kept of a long text before it is tokenised: several times any token budget, so that the token clip
decides what the model sees, while a response of megabytes costs no more than one of a page."""

_KNOWN_SUITES: Final = ("generic", "xstest", "coconot")
"""Suites whose items are at home under the generic rubric, or whose missing subcategories `score` reports itself."""

_RAW_HEAD: Final = 60_000
_RAW_TAIL: Final = 12_000

_QUOTES: Final = str.maketrans(
    {"‘": "'", "’": "'", "‚": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-", "−": "-"}
)
_INVISIBLE: Final = re.compile(f"[{INVISIBLE}]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]+")
_FLOOD: Final = re.compile(rf"[\s\x00-\x1f{INVISIBLE}]{{64,}}")

_THINK_CLOSE: Final = re.compile(r"</(?:think|thinking|thought|reasoning)\s*>|◁/think▷", re.IGNORECASE)
_THINK_BLOCK: Final = re.compile(
    r"<(think|thinking|thought|reasoning)\s*>.*?(?:</\1\s*>|\Z)|◁think▷.*?(?:◁/think▷|\Z)",
    re.IGNORECASE | re.DOTALL,
)
# The next turn of the user, when a model runs on past its own answer.
_NEXT_TURN: Final = re.compile(
    r"<\|im_start\|>\s*user|<\|start_header_id\|>\s*user|<start_of_turn>\s*user|<\|user\|>|<\|User\|>|\[INST\]"
    r"|\n### ?(?:Instruction|Human|User)\s*:",
)
_PROMPT_ECHO: Final = re.compile(r"\A\s*(?:<s>\s*)?\[INST\].{0,20000}?\[/INST\]", re.DOTALL)
_SYSTEM_START: Final = "<<SYS>>"
_SYSTEM_END: Final = "<</SYS>>"
_SYSTEM_CHARS: Final = 20_000
_SPECIAL: Final = re.compile(
    # Nothing is given back (`+`): a header of spaces that never ends would be tried in every division of them.
    r"<\|start_header_id\|>\s*+\w{0,20}+\s*+<\|end_header_id\|>"
    r"|<\|im_start\|>\s*(?:assistant|system)?|<start_of_turn>\s*(?:model)?"
    r"|<\|[A-Za-z0-9_▁ -]{1,40}\|>|</?s>|<(?:bos|eos|pad|unk|end_of_turn)>|\[/?INST\]|<</?SYS>>"
)
_ROLE_LABEL: Final = re.compile(
    r"\A\s*(?:### ?(?:Response|Assistant|Answer)\s*:?|(?:assistant|ASSISTANT|Assistant)\s*(?::|\n\s*\n))\s*"
)
_REFUSAL_TAG: Final = re.compile(
    r"\A\s*[\[<](?=[^\]>\n]{0,60}(?:refus|respond|response|compl(?:y|ian)|reject|humani[sz]|incomplete|unsupported"
    r"|indeterminate|safety))/?[^\]>\n]{1,60}[\]>]\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The text of one completion as the tiers read it.

    `rubric` is a key of `rubrics.SUBCATEGORIES`; `subset` is `original`, `contrast` or, outside CoCoNot's form, the
    empty string. `prompt` and `response` are normalised, and those longer than `HEAD_CHARS + TAIL_CHARS` are
    already reduced to a head and a tail with a line break between them.
    """

    rubric: str
    subset: str
    prompt: str
    response: str
    flags: tuple[str, ...]

    @property
    def heading(self) -> str:
        """Subset and rubric, as they stand before the prompt."""
        return f"{self.subset} {self.rubric}"


def prepare(completion: Completion) -> Prepared:
    """Clean and normalise one completion.

    Flags: `template_artifacts`, `empty`, `generic_rubric`, `truncated_input` (here only when characters were
    dropped; the token clip adds it later), `non_english`, `code_only`, `gibberish`, and those of `disguise.reveal`.
    """
    answer = _after_reasoning(completion.response)
    bounded = _bounded(answer)
    revealed, disguises = reveal(bounded)
    response, found = strip_artifacts(revealed)
    flags = list(disguises)
    if found or len(answer) != len(completion.response):
        flags.append("template_artifacts")
    if code_only(response):
        flags.append("code_only")
    elif gibberish(response):
        flags.append("gibberish")
    response = normalise(response)
    if not response:
        flags.append("empty")
    response, cut = _clip_characters(response)
    if cut or len(bounded) > _RAW_HEAD + _RAW_TAIL:
        flags.append("truncated_input")
    prompt, _ = _clip_characters(normalise(_bounded(completion.prompt)))
    if "code_only" not in flags and mostly_not_english(response):
        flags.append("non_english")
    rubric, fallback = rubrics.rubric_of(completion.subcategory)
    if fallback or (not completion.subcategory and completion.suite not in _KNOWN_SUITES):
        flags.append("generic_rubric")
    subset = completion.subset if rubrics.desired_verdict(completion.subset) else None
    return Prepared(rubric, subset or "", prompt, response, tuple(flags))


def trace(completion: Completion) -> Traced:
    """Return the response that `prepare` makes of a completion, each character with its place in the original one."""
    revealed, _ = reveal(_bounded(_after_reasoning(Traced(completion.response))))
    response, _ = strip_artifacts(revealed)
    response, _ = _clip_characters(normalise(response))
    return cast("Traced", response)


def strip_artifacts(text: str) -> tuple[str, bool]:
    """Remove chat-template tokens, echoed prompts, refusal tags and reasoning blocks from a response.

    A reasoning block that never closes leaves nothing: the model had not begun to answer.

    Returns
    -------
    text
        The answer alone.
    found
        Whether anything was removed.
    """
    # Full-width bars and brackets (DeepSeek's `<｜…｜>`) are folded first, or the patterns would not see them.
    original = text
    text = fold(_bounded(_after_reasoning(text)))
    folded = text if text != original else original
    if any(mark in text for mark in "<[#◁"):  # one of them begins whatever is sought here
        text = substitute(_THINK_BLOCK, " ", text)
        text = substitute(_PROMPT_ECHO, "", text)
        text = _without_system_blocks(text)
        if (turn := _NEXT_TURN.search(text)) and text[: turn.start()].strip():
            text = text[: turn.start()]
        text = substitute(_SPECIAL, " ", text)
    while label := _ROLE_LABEL.match(text) or _REFUSAL_TAG.match(text):
        text = text[label.end() :]
    removed = text != folded or len(_after_reasoning(original)) != len(original)
    return text, removed


def normalise(text: str) -> str:
    """Fold Unicode compatibility forms and quotes, drop invisible and control characters, fold white space."""
    if not text.isascii():
        text = fold(text).translate(_QUOTES)
        text = substitute(_INVISIBLE, "", text)
    return squeeze(substitute(_CONTROL, " ", text))


def _without_system_blocks(text: str) -> str:
    """Put a space for each `<<SYS>>` with a `<</SYS>>` at most `_SYSTEM_CHARS` behind it, and for what is between.

    As a pattern it would be searched to that length from each of thousands of beginnings that a text may hold.
    """
    spans, end = [], -1
    start = text.find(_SYSTEM_START)
    while start >= 0:
        begin = start + len(_SYSTEM_START)
        if end < begin and (end := text.find(_SYSTEM_END, begin)) < 0:
            break
        if end - begin <= _SYSTEM_CHARS:
            begin = end + len(_SYSTEM_END)
            spans.append((start, begin))
        start = text.find(_SYSTEM_START, begin)
    return replace_spans(text, spans, " ") if spans else text


def _after_reasoning(text: str) -> str:
    """Cut at the last closing tag, before the length is bounded: reasoning can be longer than any answer."""
    if "</" not in text and "◁" not in text:
        return text
    end = max((close.end() for close in _THINK_CLOSE.finditer(text)), default=0)
    return text[end:]


def _bounded(text: str) -> str:
    """Bound what the patterns have to search; floods of nothing must not crowd out what a reader sees."""
    if len(text) > _RAW_HEAD + _RAW_TAIL:
        text = substitute(_FLOOD, "\n", text)
    if len(text) <= _RAW_HEAD + _RAW_TAIL:
        return text
    return text[:_RAW_HEAD] + "\n" + text[-_RAW_TAIL:]


def _clip_characters(text: str) -> tuple[str, bool]:
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text, False
    return text[:HEAD_CHARS] + "\n" + text[-TAIL_CHARS:], True
