"""Two reviewers' agreement and conflicts in a terminal."""

from __future__ import annotations

from typing import TextIO

from refusal_clf.report.escaping import printable
from refusal_clf.report.sheets import Sheet, print_sheets
from refusal_clf.review.merging import Merged, Prefer


def print_merged(merged: Merged, prefer: Prefer | None, file: TextIO | None = None) -> None:
    """Print agreement by field, and every conflict with what became of it (default: to standard output)."""
    sheets = [
        Sheet(
            "Agreement of the two reviewers",
            ("label", "labelled by both", "agreement", "kappa"),
            tuple(
                (field, f"{n:,}", f"{100 * share:.1f} %", f"{kappa:.3f}")
                for field, (n, share, kappa) in merged.agreements.items()
            ),
            names=1,
        )
    ]
    if merged.conflicts:
        fate = "left out" if prefer is None else f"the {prefer}'s label is taken"
        sheets.append(
            Sheet(
                f"Conflicts: {fate}",
                ("id", "response", "first", "second"),
                tuple(
                    (
                        printable(conflict.first.completion.id or "–", limit=30),
                        printable(conflict.first.completion.response, limit=50),
                        str(getattr(conflict.first, conflict.field)),
                        str(getattr(conflict.second, conflict.field)),
                    )
                    for conflict in merged.conflicts
                ),
                names=4,
            )
        )
    print_sheets(sheets, file)
