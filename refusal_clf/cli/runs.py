"""Runs as `check` and `compare` read them: results folders, or files of completions that are judged here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from refusal_clf.cli.bar import progress
from refusal_clf.cli.choices import SuiteChoice, TierChoice, metadata_of
from refusal_clf.records import Completion, InputError

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
        with progress(f"scoring {path.name}", len(rows)) as advance:
            for row, verdict in zip(rows, self.classifier.stream(rows, tier=self.tier), strict=True):
                items.append(Item(verdict, row.prompt, row.response))
                advance(1)
        return Run(tuple(items), self.classifier.sha256, self.tier)

    def check_used(self, *paths: Path | None) -> None:
        """Refuse options of completions where there are none to judge."""
        if any(path is not None and path.exists() and not path.is_dir() for path in paths):
            return
        given = {
            "--suite": self.suite != "auto",
            "--subset": self.subset is not None,
            "--model": self.model is not None,
            "--tier": self.tier != "auto",
            "--threads": self.threads is not None,
        }
        if useless := [name for name, is_given in given.items() if is_given]:
            raise InputError(f"holds verdicts already: {useless[0]} has no meaning for them", file=paths[0])

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
