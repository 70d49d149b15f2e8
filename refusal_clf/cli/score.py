"""`refusal-clf score`: files of completions in, rates with intervals out."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from refusal_clf.cli.bar import progress
from refusal_clf.cli.choices import (
    Format,
    Model,
    OnError,
    Subset,
    Suite,
    SuiteChoice,
    Threads,
    Tier,
    TierChoice,
    metadata_of,
)
from refusal_clf.cli.choices import Report as ReportChoice
from refusal_clf.cli.inputs import expand
from refusal_clf.cli.progress import say
from refusal_clf.records import Completion, InputError, Verdict

if TYPE_CHECKING:
    from refusal_clf.classifier import RefusalClassifier
    from refusal_clf.cli.pages import ScorePage
    from refusal_clf.formats import SkippedRow
    from refusal_clf.scoring import GroupCounter
    from refusal_clf.suites import SuiteMetadata
    from refusal_clf.summary import Report

_STDIN: Final = Path("-")
_BATCH: Final = 512
"""Verdicts counted and written together."""
_SKIPPED_SHOWN: Final = 5


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("score")(_score)


@dataclass(frozen=True, slots=True)
class _Source:
    """The input of a run; rows that cannot be used are collected in `skipped` when `on_error` is "skip"."""

    files: tuple[Path, ...]
    suite: SuiteChoice
    subset: str | None
    on_error: OnError
    metadata: SuiteMetadata | None
    skipped: list[SkippedRow] = field(default_factory=list)

    def read(self) -> Iterator[Completion]:
        from refusal_clf.reading import read_completions

        self.skipped.clear()
        # Called for every file before the first is read: the call itself finds files that are missing.
        parts = [
            read_completions(
                file,
                suite=self.suite,
                subset=self.subset,
                on_error=self.on_error,
                skipped=self._skip(file),
                metadata=self.metadata,
            )
            for file in self.files
        ]
        yield from chain.from_iterable(parts)

    def _skip(self, file: Path) -> Callable[[SkippedRow], None]:
        if len(self.files) == 1:
            return self.skipped.append
        return lambda row: self.skipped.append(replace(row, reason=f"{file}: {row.reason}"))


def _score(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="JSONL, JSON, CSV, TSV, Parquet (.gz, .zst); a pattern or folder of such files; - is stdin.",
        ),
    ],
    suite: Suite = "auto",
    subset: Subset = None,
    model: Model = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write verdicts.jsonl, summary.json and CoCoNot's table here.")
    ] = None,
    output_format: Format = "table",
    tier: Tier = "auto",
    threads: Threads = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results in --out.")] = False,
    on_error: Annotated[OnError, typer.Option(help="What to do with a row that cannot be used.")] = "fail",
    details: Annotated[
        bool, typer.Option("--details/--no-details", help="List subcategories under their categories.")
    ] = False,
    report_format: ReportChoice = None,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Results of an earlier `score`, shown beside these in the report."),
    ] = None,
) -> None:
    """Score completions: compliance and refusal rates for each category, with 95 % intervals.

    Example: refusal-clf score completions.jsonl --out results/my-model

    CoCoNot's categories are read from the rows, or joined by id or prompt after `refusal-clf data pull coconot`.

    Of a folder, the files directly in it are read whose names end like completions and begin with neither a dot nor
    an underscore.
    """
    files = expand(files)
    _check_options(files, out, resume=resume, overwrite=overwrite)
    page = _page(files, out, report_format, baseline)
    source = _Source(tuple(files), suite, subset, on_error, metadata_of(suite))
    # A first pass finds every unusable row before anything is loaded or written; a pipe has but one pass.
    survey = None if any(map(_read_once, files)) else _survey(source)

    from refusal_clf.classifier import RefusalClassifier

    clf = RefusalClassifier.load(model, threads=threads)
    if out is None:
        report = _run(source, clf, tier, survey)
    else:
        with _claimed(out):
            report = _run_into(out, source, clf, tier, survey, resume=resume, overwrite=overwrite, page=page)
    _tell_skipped(source, out)
    _print(report, output_format, details=details)


def _check_options(files: list[Path], out: Path | None, *, resume: bool, overwrite: bool) -> None:
    if out is None and (resume or overwrite):
        raise InputError(f"{'--resume' if resume else '--overwrite'} needs --out")
    if resume and overwrite:
        raise InputError("--overwrite and --resume exclude each other")
    if resume and any(map(_read_once, files)):
        raise InputError("--resume needs files: a pipe cannot be compared with what was scored before")
    if _STDIN in files and sys.stdin.isatty():
        say("reading JSON lines from the terminal; Ctrl-D ends them")


def _page(files: list[Path], out: Path | None, wanted: str | None, baseline: Path | None) -> ScorePage | None:
    from refusal_clf.cli.pages import ScorePage

    if wanted is None:
        if baseline is not None:
            raise InputError("--baseline is shown in the report: give --report html (`check` compares runs)")
        return None
    if out is None:
        raise InputError("--report needs --out")
    title = files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"
    return ScorePage.beside("standard input" if files == [_STDIN] else title, baseline)


def _read_once(file: Path) -> bool:
    """Say whether a file cannot be read twice: standard input, a named pipe, the shell's <(...)."""
    return file == _STDIN or (file.exists() and not file.is_file() and not file.is_dir())


@dataclass(frozen=True, slots=True)
class _Survey:
    """The number of usable rows and a digest of all that decides their verdicts."""

    n: int
    digest: str


def _survey(source: _Source) -> _Survey:
    n, digest = 0, blake2b(digest_size=16)
    for n, completion in enumerate(source.read(), start=1):  # noqa: B007
        digest.update(repr(completion).encode("utf-8", "replace"))
    return _Survey(n, digest.hexdigest())


def _run(source: _Source, clf: RefusalClassifier, tier: TierChoice, survey: _Survey | None) -> Report:
    from refusal_clf.scoring import GroupCounter

    counter = GroupCounter()
    _judge(source, clf, tier, counter, total=survey.n if survey else None)
    return replace(counter.report(clf.name, clf.sha256), n_skipped=len(source.skipped))


@contextmanager
def _claimed(out: Path) -> Iterator[None]:
    """Keep other runs out of the folder; one that was made for a run which turned out unusable does not stay."""
    from refusal_clf.locking import locked

    made = not out.exists()
    try:
        with locked(out):
            yield
    except InputError:
        if made and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        raise


def _run_into(
    out: Path,
    source: _Source,
    clf: RefusalClassifier,
    tier: TierChoice,
    survey: _Survey | None,
    *,
    resume: bool,
    overwrite: bool,
    page: ScorePage | None,
) -> Report:
    from refusal_clf import writing
    from refusal_clf.scoring import GroupCounter, coconot_rows

    identity = {
        "files": [file.name for file in source.files],
        "input": survey.digest if survey else None,
        "model": clf.sha256,
        "tier": tier,
    }
    run = writing.open_run_dir(out, overwrite=overwrite, resume=resume, run=identity)
    counter = GroupCounter()
    keep = None if page is None else page.add
    if run.done:
        for completion, verdict in zip(source.read(), writing.read_verdicts(out), strict=False):
            counter.add(verdict)
            if keep is not None:
                keep(completion, verdict)
    try:
        with writing.VerdictWriter(out, resume=resume) as writer:
            total = survey.n if survey else None
            _judge(source, clf, tier, counter, total=total, done=run.done, write=writer.write, keep=keep)
    except InputError:
        # A pipe turned out unusable on the way: what came before it is no result.
        if not resume:
            for name in writing.RESULT_FILES:
                (out / name).unlink(missing_ok=True)
        raise
    except KeyboardInterrupt:
        say(f"interrupted; the same command with --resume goes on from {out}")
        raise
    report = replace(counter.report(clf.name, clf.sha256), n_skipped=len(source.skipped))
    writing.write_summary(out, report.to_dict())
    written = [writing.VERDICTS_FILE, writing.SUMMARY_FILE]
    if rows := coconot_rows(counter):
        writing.write_coconot_tsv(out / writing.COCONOT_FILE, rows)
        written.append(writing.COCONOT_FILE)
    if source.skipped:
        writing.write_skipped(out, source.skipped)
        written.append(writing.SKIPPED_FILE)
    if page is not None:
        written.append(page.write(out, report, clf, tier).name)
    say(f"wrote {', '.join(written)} in {out}")
    return report


def _judge(
    source: _Source,
    clf: RefusalClassifier,
    tier: TierChoice,
    counter: GroupCounter,
    *,
    total: int | None,
    done: int = 0,
    write: Callable[[list[Verdict]], None] | None = None,
    keep: Callable[[Completion, Verdict], None] | None = None,
) -> None:
    """Judge the rows after the first `done` of them, counting and writing a batch at a time.

    `keep` is given each completion with its verdict; only those that are being judged are held for it.
    """
    waiting: deque[Completion] = deque()

    def remembered() -> Iterator[Completion]:
        for completion in islice(source.read(), done, None):
            if keep is not None:
                waiting.append(completion)
            yield completion

    verdicts = clf.stream(remembered(), tier=tier)
    with progress("scoring", total, done) as advance:
        while batch := list(islice(verdicts, _BATCH)):
            for verdict in batch:
                counter.add(verdict)
                if keep is not None:
                    keep(waiting.popleft(), verdict)
            if write is not None:
                write(batch)
            advance(len(batch))


def _tell_skipped(source: _Source, out: Path | None) -> None:
    from refusal_clf.report.escaping import printable

    if not source.skipped:
        return
    n = len(source.skipped)
    say(f"skipped {n:,} unusable row{'s' if n > 1 else ''}" + (f": see {out / 'skipped.jsonl'}" if out else ""))
    if out is None:
        for row in source.skipped[:_SKIPPED_SHOWN]:
            say(f"  line {row.line}: {printable(row.reason, limit=200)}")


def _print(report: Report, output_format: str, *, details: bool) -> None:
    if output_format == "json":
        typer.echo(json.dumps(report.to_dict(), indent=2))
    elif output_format == "markdown":
        from refusal_clf.report.markdown import markdown

        typer.echo(markdown(report, details=details), nl=False)
    else:
        from refusal_clf.report.terminal import print_report

        print_report(report, details=details)
