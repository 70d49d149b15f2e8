"""What came of a generation."""

from __future__ import annotations

from dataclasses import dataclass, field

from refusal_clf.records import InputError


@dataclass(slots=True)
class Outcome:
    """What became of the prompts; `failed` are the reasons of those without a completion, `cut` answers were too long.

    `problem` is what made the endpoint unusable; the prompts that were not asked then are in no number.
    """

    answered: int = 0
    cut: int = 0
    failed: list[str] = field(default_factory=list)
    problem: InputError | None = None
