"""The input of `score`: files read as one stream of completions, and a first look at all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from refusal_clf.cli.choices import OnError, SuiteChoice
from refusal_clf.records import Completion, InputError

if TYPE_CHECKING:
    from refusal_clf.formats import SkippedRow
    from refusal_clf.judge.prompts import Form
    from refusal_clf.repeats import Repeats
    from refusal_clf.suites import SuiteMetadata

STDIN_PATH: Final = Path("-")


@dataclass(frozen=True, slots=True)
class Source:
    """The input of a run; rows that cannot be used are collected in `skipped` when `on_error` is "skip".

    `_repeats` has what the first reading found of each file, so that later ones need not keep its ids.
    """

    files: tuple[Path, ...]
    suite: SuiteChoice
    subset: str | None
    on_error: OnError
    metadata: SuiteMetadata | None
    skipped: list[SkippedRow] = field(default_factory=list)
    _repeats: list[Repeats] = field(default_factory=list, repr=False)

    def read(self) -> Iterator[Completion]:
        """Yield the completions of all files; rows that cannot be used are collected or raise `InputError`."""
        from refusal_clf.reading import read_completions
        from refusal_clf.repeats import Repeats

        self.skipped.clear()
        if not self._repeats:
            self._repeats.extend(Repeats() for _ in self.files)
        # Called for every file before the first is read: the call itself finds files that are missing.
        parts = [
            read_completions(
                file,
                suite=self.suite,
                subset=self.subset,
                on_error=self.on_error,
                skipped=self._skip(file),
                metadata=self.metadata,
                repeats=repeats,
            )
            for file, repeats in zip(self.files, self._repeats, strict=True)
        ]
        yield from chain.from_iterable(parts)

    def _skip(self, file: Path) -> Callable[[SkippedRow], None]:
        if len(self.files) == 1:
            return self.skipped.append
        return lambda row: self.skipped.append(replace(row, reason=f"{file}: {row.reason}"))


def read_once(file: Path) -> bool:
    """Say whether a file cannot be read twice: standard input, a named pipe, the shell's <(...)."""
    return file == STDIN_PATH or (file.exists() and not file.is_file() and not file.is_dir())


@dataclass(frozen=True, slots=True)
class Survey:
    """The number of usable rows, how many of them have a rubric, and a digest of all that decides their verdicts.

    `kinds` are the suites and models that they name; a third is not looked for.
    """

    n: int
    n_with_rubric: int
    kinds: frozenset[tuple[str, str | None]]
    digest: str

    def form(self) -> Form:
        """Return what a judge can be asked about these rows.

        Raises
        ------
        InputError
            If they are not of one kind, so that one correction would not fit them all.
        """
        if len(self.kinds) > 1:
            names = " and ".join(sorted(f"{suite}, model {model or 'not named'}" for suite, model in self.kinds))
            raise InputError(f"the rows are of several suites or models ({names}): give --judge one at a time")
        if 0 < self.n_with_rubric < self.n:
            raise InputError(
                f"{self.n_with_rubric:,} of {self.n:,} rows are judged under a rubric and the others by refusal class: "
                "give --judge one kind at a time"
            )
        return "coconot" if self.n_with_rubric else "xstest"


def survey_of(source: Source) -> Survey:
    """Read everything once, which finds every row that cannot be used."""
    from refusal_clf.desired import has_rubric

    n, n_with_rubric, digest = 0, 0, blake2b(digest_size=16)
    kinds: set[tuple[str, str | None]] = set()
    for n, completion in enumerate(source.read(), start=1):  # noqa: B007
        if len(kinds) < 2:
            kinds.add((completion.suite, completion.model))
        n_with_rubric += has_rubric(completion.suite, completion.subcategory)
        digest.update(repr(completion).encode("utf-8", "replace"))
    return Survey(n, n_with_rubric, frozenset(kinds), digest.hexdigest())
