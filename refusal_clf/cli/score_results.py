"""What `score` makes of its verdicts: the files in the results folder, and what is printed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from refusal_clf.cli.choices import TierChoice
from refusal_clf.cli.hybrid import FOLDER
from refusal_clf.cli.progress import say
from refusal_clf.cli.source import Source

if TYPE_CHECKING:
    from refusal_clf.classifier import RefusalClassifier
    from refusal_clf.cli.hybrid import Hybrid
    from refusal_clf.cli.pages import ScorePage
    from refusal_clf.scoring import GroupCounter
    from refusal_clf.summary import Report

_SKIPPED_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Result:
    """What a run found, and what a judge added to it."""

    report: Report
    hybrid: Hybrid | None = None

    def document(self) -> dict[str, Any]:
        """Return `summary.json`."""
        document = self.report.to_dict()
        return document if self.hybrid is None else {**document, "judge": self.hybrid.summary()}


def write_results(
    out: Path,
    source: Source,
    clf: RefusalClassifier,
    tier: TierChoice,
    counter: GroupCounter,
    result: Result,
    page: ScorePage | None,
) -> None:
    """Write everything that is made of the verdicts."""
    from refusal_clf import writing
    from refusal_clf.scoring import coconot_rows

    writing.write_summary(out, result.document())
    written = [writing.VERDICTS_FILE, writing.SUMMARY_FILE]
    if rows := coconot_rows(counter):
        writing.write_coconot_tsv(out / writing.COCONOT_FILE, rows)
        written.append(writing.COCONOT_FILE)
    if source.skipped:
        writing.write_skipped(out, source.skipped)
        written.append(writing.SKIPPED_FILE)
    if page is not None and result.hybrid is not None:
        from refusal_clf.cli.pages import write_calibration_page

        hybrid = result.hybrid
        name = page.title
        written.append(write_calibration_page(out, name, hybrid.document, hybrid.scored, hybrid.labels).name)
    elif page is not None:
        written.append(page.write(out, result.report, clf, tier).name)
    if result.hybrid is not None:
        written.append(f"{FOLDER}/")
    say(f"wrote {', '.join(written)} in {out}")


def tell_skipped(source: Source, out: Path | None) -> None:
    """Say how many rows could not be used and where they are listed; without a folder, why the first ones could not."""
    from refusal_clf.report.escaping import printable

    if not source.skipped:
        return
    n = len(source.skipped)
    say(f"skipped {n:,} unusable row{'s' if n > 1 else ''}" + (f": see {out / 'skipped.jsonl'}" if out else ""))
    if out is None:
        for row in source.skipped[:_SKIPPED_SHOWN]:
            say(f"  line {row.line}: {printable(row.reason, limit=200)}")


def print_result(result: Result, output_format: str, *, details: bool) -> None:
    """Print the rates as a table, JSON or Markdown."""
    notes = () if result.hybrid is None else tuple(result.hybrid.sentences())
    if output_format == "json":
        typer.echo(json.dumps(result.document(), indent=2))
    elif output_format == "markdown":
        from refusal_clf.report.markdown import markdown

        typer.echo(markdown(result.report, details=details, notes=notes), nl=False)
    else:
        from refusal_clf.report.terminal import print_report

        print_report(result.report, details=details, notes=notes)
