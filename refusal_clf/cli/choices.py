"""Options that several commands share: their values, and what `--suite` brings with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from refusal_clf.suites import SuiteMetadata

SuiteChoice = Literal["auto", "coconot", "xstest", "generic"]
TierChoice = Literal["auto", "fast", "full"]
OnError = Literal["fail", "skip"]


def metadata_of(suite: SuiteChoice) -> SuiteMetadata | None:
    """Return the prompts that rows are joined with, if they are at hand; under `auto` those of CoCoNot.

    CoCoNot is the suite whose verdicts depend on metadata: the subcategory chooses the rubric.
    """
    from refusal_clf.suites import load_suite

    return load_suite("coconot" if suite == "auto" else suite)
