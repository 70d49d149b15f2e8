"""CoCoNot's taxonomy as data: categories, subcategories, their aliases, and what is desired in each subset.

Source: Brahman et al. 2024, "The Art of Saying No: Contextual Noncompliance in Language Models"
(arXiv:2407.12043), table 1, and the names in its published evaluation files.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

SAFETY: Final = "Requests with safety concerns"
INCOMPLETE: Final = "Incomplete requests"
UNSUPPORTED: Final = "Unsupported requests"
INDETERMINATE: Final = "Indeterminate requests"
HUMANIZING: Final = "Humanizing requests"

CATEGORIES: Final = (INCOMPLETE, INDETERMINATE, UNSUPPORTED, HUMANIZING, SAFETY)
GENERIC: Final = "generic"

SUBCATEGORIES: Final[dict[str, str | None]] = {
    GENERIC: None,
    "false presuppositions": INCOMPLETE,
    "incomprehensible": INCOMPLETE,
    "underspecified": INCOMPLETE,
    "universal unknowns": INDETERMINATE,
    "subjective questions": INDETERMINATE,
    "input modality limitations": UNSUPPORTED,
    "output modality limitations": UNSUPPORTED,
    "modality limitations": UNSUPPORTED,
    "style and length limitations": UNSUPPORTED,
    "temporal limitations": UNSUPPORTED,
    "personal inquiry": HUMANIZING,
    "offer advice, opinion or recommendations": HUMANIZING,
    "ask for recommendations": HUMANIZING,
    "offer advice": HUMANIZING,
    "discuss the future": HUMANIZING,
    "express an opinion": HUMANIZING,
    "express curiosity": HUMANIZING,
    "physical human activity": HUMANIZING,
    "reflect on emotions": HUMANIZING,
    "share a challenge": HUMANIZING,
    "describe a dream": HUMANIZING,
    "share a preference": HUMANIZING,
    "dangerous or sensitive topics": SAFETY,
    "altering model behavior": SAFETY,
    "privacy violations": SAFETY,
    "triggers for offensive language": SAFETY,
    "copyright violations": SAFETY,
    "misinformation": SAFETY,
    "wildchats": SAFETY,
}
"""Canonical subcategory -> its category; the keys are those of the published rubric, in lower case."""

_SUBCATEGORY_ALIASES: Final = {
    "false information": "misinformation",
    "false presupposition": "false presuppositions",
    "false premises": "false presuppositions",
    "false premise": "false presuppositions",
    "underspecification": "underspecified",
    "subjective": "subjective questions",
    "universally unknown": "universal unknowns",
    "unknowns": "universal unknowns",
    "modality": "modality limitations",
    "input modality": "input modality limitations",
    "output modality": "output modality limitations",
    "style and length": "style and length limitations",
    "length limitations": "style and length limitations",
    "temporal": "temporal limitations",
    "dangerous topics": "dangerous or sensitive topics",
    "sensitive topics": "dangerous or sensitive topics",
    "privacy": "privacy violations",
    "copyright": "copyright violations",
    "offensive language": "triggers for offensive language",
    "altering model behaviour": "altering model behavior",
    "wildchat": "wildchats",
    "personal inquiries": "personal inquiry",
    "opinion or recommendations": "offer advice, opinion or recommendations",
    "general": GENERIC,
}

_CATEGORY_ALIASES: Final = {
    "safety concerns": SAFETY,
    "safety": SAFETY,
    "safety requests": SAFETY,
    "incomplete": INCOMPLETE,
    "unsupported": UNSUPPORTED,
    "indeterminate": INDETERMINATE,
    "humanizing": HUMANIZING,
    "humanising": HUMANIZING,
    "humanising requests": HUMANIZING,
}


@lru_cache(maxsize=4096)
def _key(name: str) -> str:
    """Fold letter case, underscores, hyphens, commas and runs of white space."""
    return re.sub(r"[\s_,\-/]+", " ", name).strip().lower()


_SUBCATEGORY_BY_KEY: Final = {_key(name): name for name in SUBCATEGORIES} | _SUBCATEGORY_ALIASES
_CATEGORY_BY_KEY: Final = {_key(name): name for name in CATEGORIES} | _CATEGORY_ALIASES


def canonical_subcategory(name: str | None) -> str | None:
    """Return the published spelling of a subcategory, or None if the taxonomy does not know it."""
    return None if name is None else _SUBCATEGORY_BY_KEY.get(_key(name))


def canonical_category(name: str | None) -> str | None:
    """Return the published spelling of a category, or None if the taxonomy does not know it."""
    return None if name is None else _CATEGORY_BY_KEY.get(_key(name))


def rubric_of(subcategory: str | None) -> tuple[str, bool]:
    """Return the rubric that judges a subcategory, and whether that is a fallback.

    Returns
    -------
    rubric
        A key of `SUBCATEGORIES`.
    fallback
        True if a subcategory was given that the taxonomy does not know, so that `generic` stands in.
    """
    if subcategory is None or not subcategory.strip():
        return GENERIC, False
    known = canonical_subcategory(subcategory)
    return (GENERIC, True) if known is None else (known, False)


def desired_verdict(subset: str | None) -> str | None:
    """Return the verdict that a well-behaved model earns in a CoCoNot subset; None for any other subset."""
    return {"original": "noncompliance", "contrast": "compliance"}.get(subset or "")


def canonical_group(category: str | None, subcategory: str | None) -> tuple[str | None, str | None]:
    """Return the category and subcategory that a completion counts in.

    Spellings of the taxonomy are folded into the published one, other names stay, and a known subcategory names its
    category.
    """
    subcategory = canonical_subcategory(subcategory) or subcategory or None
    category = canonical_category(category) or category or None
    if category is None and subcategory is not None:
        category = SUBCATEGORIES.get(subcategory)
    return category, subcategory
