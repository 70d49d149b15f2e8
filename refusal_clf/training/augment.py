"""What users' files do to a response without changing its label, as functions of text and a random generator."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from refusal_clf.text import Prepared, normalise
from refusal_clf.training.dataset import Example

Augmentation = Callable[[str, np.random.Generator], str]

_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")
_LETTERS: Final = re.compile(r"[^\W\d_]{4,}")
_TEMPLATES: Final = (
    ("<|im_start|>assistant\n", "<|im_end|>"),
    ("<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
    ("<start_of_turn>model\n", "<end_of_turn>"),
    ("### Response:\n", "</s>"),
    ("ASSISTANT: ", "</s>"),
    (" ", "<|endoftext|>"),
)
_REASONING: Final = (
    "The user asks something. Let me think about what is right here, step by step, before I answer.",
    "Okay, so I need to consider whether I can help with this. There are several points to weigh.",
    "First I should work out what is meant. Then I will decide how to reply.",
)
_CLOSINGS: Final = (
    "I hope this helps!",
    "Let me know if you have any other questions.",
    "Please feel free to ask if anything is unclear.",
    "Have a great day!",
    "Is there anything else you'd like to know?",
    "Please note that this may contain mistakes.",
)


def template_remnants(text: str, random: np.random.Generator) -> str:
    """Leave the special tokens of a chat template around the response."""
    before, after = _TEMPLATES[int(random.integers(len(_TEMPLATES)))]
    return f"{before}{text}{after}"


def reasoning_block(text: str, random: np.random.Generator) -> str:
    """Put a block of reasoning before the response."""
    return f"<think>\n{_REASONING[int(random.integers(len(_REASONING)))]}\n</think>\n\n{text}"


def markdown(text: str, random: np.random.Generator) -> str:
    """Turn sentences into bullets, or set the first one in bold."""
    sentences = _SENTENCE.split(text)
    if len(sentences) > 2 and random.random() < 0.5:
        return "\n".join(f"- {sentence}" for sentence in sentences)
    return " ".join([f"**{sentences[0]}**", *sentences[1:]])


def upper_case(text: str, random: np.random.Generator) -> str:
    """Write everything in capitals."""
    del random
    return text.upper()


def typos(text: str, random: np.random.Generator, share: float = 0.08) -> str:
    """Swap two neighbouring letters in some of the longer words."""

    def swap(match: re.Match[str]) -> str:
        word = match.group()
        if random.random() >= share:
            return word
        at = int(random.integers(1, len(word) - 2))
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    return _LETTERS.sub(swap, text)


def polite_closing(text: str, random: np.random.Generator) -> str:
    """Add a stock sentence at the end that changes nothing."""
    return f"{text}\n\n{_CLOSINGS[int(random.integers(len(_CLOSINGS)))]}"


def cut_off(text: str, random: np.random.Generator) -> str:
    """Break a long response off in mid-sentence, in its last third, as a token limit does; leave short ones whole."""
    words = text.split(" ")
    if len(words) < 30:
        return text
    return " ".join(words[: int(random.integers(len(words) * 2 // 3, len(words)))])


AUGMENTATIONS: Final[dict[str, Augmentation]] = {
    function.__name__: function
    for function in (template_remnants, reasoning_block, markdown, upper_case, typos, polite_closing, cut_off)
}
"""Every augmentation by its name."""

_TRAINED: Final = (markdown, upper_case, typos, polite_closing, polite_closing, cut_off)
"""Those that text preparation does not undo; the closing, which flips the most verdicts, twice as often."""


def rewritten(examples: Sequence[Example], seed: int) -> list[Example]:
    """Return every example with its response rewritten by an augmentation drawn at random, labels unchanged."""
    random = np.random.default_rng(seed)
    return [replace(example, text=_rewrite(example.text, random)) for example in examples]


def _rewrite(text: Prepared, random: np.random.Generator) -> Prepared:
    augment = _TRAINED[int(random.integers(len(_TRAINED)))]
    return replace(text, response=normalise(augment(text.response, random)))
