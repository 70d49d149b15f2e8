"""Runs as `check` and `compare` read them: results folders, or files of completions that are judged here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from refusal_clf.cli.bar import progress
from refusal_clf.cli.choices import SuiteChoice, TierChoice, metadata_of
from refusal_clf.cli.scored import refuse_typed
from refusal_clf.records import Completion
from refusal_clf.streams import STDIN, name_of

if TYPE_CHECKING:
    from refusal_clf.baseline import Run
    from refusal_clf.classifier import RefusalClassifier


@dataclass(slots=True)
class RunReader:
    """Reads runs, judging those that are files of completions; the classifier is loaded for the first of them."""

    suite: SuiteChoice
    subset: str | None
    model: str | None
    tier: TierChoice
    threads: int | None
    _loaded: list[RefusalClassifier] = field(default_factory=list)

    def read(self, path: Path) -> Run:
        """Return a run's items; those of a file of completions are judged here."""
        from refusal_clf.baseline import Run, read_run
        from refusal_clf.pairing import Item
        from refusal_clf.reading import read_completions

        if path.is_dir():
            return read_run(path)
        # Every unusable row is found before the model is loaded.
        found = read_completions(path, suite=self.suite, subset=self.subset, metadata=metadata_of(self.suite))
        rows = [_identified(row) for row in found]
        items = []
        with progress(f"scoring {name_of(path)}", len(rows)) as advance:
            for row, verdict in zip(rows, self.classifier.stream(rows, tier=self.tier), strict=True):
                items.append(Item(verdict, row.prompt, row.response))
                advance(1)
        return Run(tuple(items), self.classifier.sha256, self.tier)

    def check_used(self, context: typer.Context, *paths: Path | None) -> None:
        """Refuse typed options of completions where there are none to judge."""
        if not any(path is not None and not path.is_dir() and (path.exists() or str(path) == STDIN) for path in paths):
            refuse_typed(context, paths[0])

    @property
    def classifier(self) -> RefusalClassifier:
        """The classifier, loaded when it is first asked for."""
        from refusal_clf.classifier import RefusalClassifier

        if not self._loaded:
            self._loaded.append(RefusalClassifier.load(self.model, threads=self.threads))
        return self._loaded[0]


def _identified(row: Completion) -> Completion:
    """Give a completion without an id one that its prompt determines, so that its pair is found."""
    if row.id is not None:
        return row
    digest = blake2b(" ".join(row.prompt.split()).encode("utf-8", "replace"), digest_size=8).hexdigest()
    return replace(row, id=f"prompt-{digest}")
