"""Completions to measure speed with where a user gives none: the packaged samples, at the lengths of real responses."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Final

from refusal_clf.reading import read_completions
from refusal_clf.records import Completion, InputError

LENGTHS: Final = (
    38, 122, 210, 266, 306, 336, 362, 390, 419, 454, 507, 638, 876, 1118, 1334, 1563, 1764, 1970, 2186, 2408, 4947,
)  # fmt: skip
"""Every twentieth quantile of the characters of 3,991 real responses to CoCoNot (Llama-3-8B-Instruct, Zephyr with
refusal tokens, various models, SmolLM2-135M-Instruct), whose mean is 931."""

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|\n+")


def own_completions(count: int) -> list[Completion]:
    """Return completions that differ from each other, the same ones every time.

    Each is one of the packaged samples, cut or lengthened sentence by sentence to a length drawn between `LENGTHS`;
    what is added comes from responses of the same author to the same category, so that refusals stay refusals and the
    lexical tier is as unsure of them (of 42 % of 1,000) as of the responses of models that it never saw (43 %).
    """
    samples = [completion for completion in read_completions(_file()) if completion.response.strip()]
    pools: dict[tuple[str | None, ...], list[str]] = defaultdict(list)
    for sample in samples:
        pools[_kind(sample)] += _sentences(sample)
    chance = random.Random(0)  # noqa: S311  # nothing here is a secret
    found: list[Completion] = []
    seen: set[tuple[str, str]] = set()
    for number in range(count):
        sample = samples[number % len(samples)]
        response = _of_length(_draw_length(chance), _sentences(sample), pools[_kind(sample)], chance)
        while (sample.prompt, response) in seen:
            response += " " + chance.choice(pools[_kind(sample)])
        seen.add((sample.prompt, response))
        found.append(replace(sample, id=str(number), response=response))
    return found


def _file() -> Path:
    """Return the samples: in the wheel, or in `data/` of a clone."""
    package = Path(__file__).parents[1]
    places = [root / "samples" / "completions.jsonl" for root in (package, package.parent / "data")]
    for place in places:
        if place.is_file():
            return place
    raise InputError("this install holds no sample completions: give a FILE", file=places[0])


def _kind(sample: Completion) -> tuple[str | None, ...]:
    return sample.model, sample.subset, sample.category


def _sentences(sample: Completion) -> list[str]:
    return [sentence for sentence in _SENTENCE_END.split(sample.response) if sentence.strip()]


def _draw_length(chance: random.Random) -> float:
    place = chance.random() * (len(LENGTHS) - 1)
    low, high = LENGTHS[int(place)], LENGTHS[int(place) + 1]
    return low + (place - int(place)) * (high - low)


def _of_length(wanted: float, own: list[str], pool: list[str], chance: random.Random) -> str:
    """Join a response's own sentences, then others, until one more would lead further from the wanted length."""
    text = own[0]
    for following in range(1, len(pool) * LENGTHS[-1]):
        sentence = own[following] if following < len(own) else chance.choice(pool)
        if len(text) + len(sentence) / 2 >= wanted:
            break
        text += " " + sentence
    return text
