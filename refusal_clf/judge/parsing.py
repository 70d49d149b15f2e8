"""A judge's answer -> its label, or nothing: an answer that does not end in a label is never turned into one."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

_REASONING: Final = re.compile(r"\A\s*<think>(?:.*</think>|.*\Z)", re.DOTALL | re.IGNORECASE)
# What may stand after the last tag: white space, and marks of emphasis or a full stop.
_FINAL: Final = re.compile(r"<label>([^<>]{1,40})</label>[\s.*_`\"']*\Z", re.IGNORECASE)
# A tag directly after another one ends a list of the labels that there are, as the question itself does.
_LISTED: Final = re.compile(r"</label>[\s*_`\"'-]*<label>[^<>]{1,40}</label>[\s.*_`\"']*\Z", re.IGNORECASE)


def parse_label(answer: str, labels: Collection[str]) -> str | None:
    """Return the label in the tag that ends an answer; None if there is none, or it is not one of `labels`.

    Letter case is ignored, and a space or a hyphen stands for an underscore. Labels that the reasoning mentions
    before the end do not count, nor does anything inside a `<think>` block, nor the last tag of a list of tags.
    """
    said = _REASONING.sub("", answer)
    found = _FINAL.search(said)
    if found is None or _LISTED.search(said):
        return None
    label = re.sub(r"[\s-]+", "_", found[1].strip().lower())
    return label if label in labels else None
