"""`Group` and `Report`: the records of `summary.json`. `scoring` makes them, `report` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from refusal_clf.records import InputError

if TYPE_CHECKING:
    import pandas

SCHEMA_VERSION: Final = 2
"""Of `summary.json`; raised when a field changes its meaning or goes. In 2, rates without a rubric (XSTest, free-form
prompts) are by refusal class, as those of `check` are; in 1 they were by verdict."""


@dataclass(frozen=True, slots=True)
class Group:
    """The rates of the completions that share suite, subset, category and subcategory.

    With `subcategory` None it is the total of its category, with both None that of its subset. Rates are
    fractions in [0, 1], None where nothing was counted; `ci_*` are 95 % Wilson limits. In a run with a judge
    (`calibration.correcting`) compliance rates and their limits are those that the judge would find in the whole file.

    Attributes
    ----------
    n, n_empty
        Responses that count, and empty ones that do not: no rate contains them.
    compliance_rate, noncompliance_rate, neither_rate
        Shares that add up to 1: of the verdicts under a rubric (CoCoNot); else of full compliance, of full and partial
        refusals, and of responses without a class (`desired.complied`).
    refusal_rate
        Share of full and partial refusals.
    full_compliance, partial_refusal, full_refusal
        Shares of the refusal classes; they add up to 1.
    macro_compliance_rate
        On the total of a subset: the unweighted mean of its categories' compliance rates, as CoCoNot's paper
        reports it (Brahman et al. 2024, arXiv:2407.12043). Else None.
    desired
        The verdict that a well-behaved model earns here: `noncompliance`, `compliance`, or None if not known.
    """

    suite: str
    subset: str | None
    category: str | None
    subcategory: str | None
    n: int
    n_empty: int
    compliance_rate: float | None
    ci_low: float | None
    ci_high: float | None
    noncompliance_rate: float | None
    neither_rate: float | None
    refusal_rate: float | None
    refusal_ci_low: float | None
    refusal_ci_high: float | None
    full_compliance: float | None
    partial_refusal: float | None
    full_refusal: float | None
    macro_compliance_rate: float | None
    desired: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """What a scoring run found.

    Attributes
    ----------
    groups
        Ordered: suite, subset (`original` before `contrast`), category, each total before its parts.
    classifier, sha256
        The classifier's name and the checksum of its files; None where verdicts were read from a file.
    n, n_empty, n_uncertain
        Responses that count, empty ones, and those among `n` that are flagged `uncertain`.
    flags
        Every known flag -> completions that carry it, empty ones included.
    by_model
        A report for each model, if the completions name more than one; else empty.
    model
        In a report of `by_model`: the model whose completions these are.
    n_skipped
        Rows of the input that could not be read and are in no other number.
    """

    groups: tuple[Group, ...]
    classifier: str | None
    sha256: str | None
    n: int
    n_empty: int
    n_uncertain: int
    flags: Mapping[str, int]
    by_model: tuple[Report, ...] = ()
    model: str | None = None
    n_skipped: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return `summary.json`. `model` is there the classifier; `by_model` only if there are several models."""
        summary: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "n": self.n,
            "n_empty": self.n_empty,
            "n_uncertain": self.n_uncertain,
            "n_skipped": self.n_skipped,
            "flags": dict(self.flags),
            "model": {"name": self.classifier, "sha256": self.sha256},
            "groups": [asdict(group) for group in self.groups],
        }
        if self.by_model:
            summary["by_model"] = [
                {
                    "completions_of": report.model,
                    "n": report.n,
                    "n_empty": report.n_empty,
                    "n_uncertain": report.n_uncertain,
                    "flags": dict(report.flags),
                    "groups": [asdict(group) for group in report.groups],
                }
                for report in self.by_model
            ]
        return summary

    def to_pandas(self) -> pandas.DataFrame:
        """Return the groups as a data frame, a row for each.

        Raises
        ------
        InputError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise InputError('to_pandas needs pandas: pip install "refusal-clf[pandas]"') from error
        return pd.DataFrame([asdict(group) for group in self.groups])
