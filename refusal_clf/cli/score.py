"""`refusal-clf score`: files of completions in, rates with intervals out."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from refusal_clf.cli.bar import progress
from refusal_clf.cli.choices import (
    ApiKeyEnv,
    Format,
    Model,
    Subset,
    Suite,
    Threads,
    Tier,
    TierChoice,
    UnusableRows,
    metadata_of,
)
from refusal_clf.cli.choices import Report as ReportChoice
from refusal_clf.cli.hybrid import ask_judge, options_of
from refusal_clf.cli.inputs import expand
from refusal_clf.cli.judging import MAX_TOKENS, OPENAI
from refusal_clf.cli.progress import say
from refusal_clf.cli.score_results import Result, print_result, tell_skipped, write_results
from refusal_clf.cli.source import STDIN_PATH, Source, Survey, read_once, survey_of
from refusal_clf.records import Completion, InputError, Verdict

if TYPE_CHECKING:
    from refusal_clf.classifier import RefusalClassifier
    from refusal_clf.cli.judging import Judge
    from refusal_clf.cli.pages import ScorePage
    from refusal_clf.scoring import GroupCounter
    from refusal_clf.summary import Report

_BATCH: Final = 512
"""Verdicts counted and written together."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("score")(_score)


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
    on_error: UnusableRows = "fail",
    details: Annotated[
        bool, typer.Option("--details/--no-details", help="List subcategories under their categories.")
    ] = False,
    report_format: ReportChoice = None,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Results of an earlier `score`, shown beside these in the report."),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Have an LLM judge answer where the verdict is doubtful, such as gpt-4o."),
    ] = None,
    judge_budget: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="With --judge: the calls that may be made.")
    ] = None,
    judge_base_url: Annotated[
        str, typer.Option(metavar="URL", help="An OpenAI-compatible endpoint, as that of `judge`.")
    ] = OPENAI,
    judge_api_key_env: ApiKeyEnv = None,
    judge_rubric: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rubric texts, such as CoCoNot's own. (default: packaged)")
    ] = None,
    judge_max_cost: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="Stop before a call could exceed it.")
    ] = None,
    judge_prices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Price table (JSON). (default: packaged)")
    ] = None,
    judge_max_tokens: Annotated[
        int, typer.Option(min=16, metavar="N", help="The longest answer; reasoning models need more.")
    ] = MAX_TOKENS,
) -> None:
    """Score completions: compliance and refusal rates for each category, with 95 % intervals.

    Example: refusal-clf score completions.jsonl --out results/my-model

    CoCoNot's categories are read from the rows, or joined by id or prompt after `refusal-clf data pull coconot`.

    Of a folder, the files directly in it are read whose names end like completions and begin with neither a dot nor
    an underscore.

    With --judge, doubtful completions are drawn for an LLM judge more often than sure ones; its verdicts take the place
    of the classifier's (tier `judge`), and what is printed are the rates that it would find in the whole file.
    """
    files = expand(files)
    wanted = options_of(
        judge,
        judge_budget,
        judge_base_url,
        judge_api_key_env,
        judge_rubric,
        judge_max_cost,
        judge_prices,
        judge_max_tokens,
    )
    _check_options(files, out, resume=resume, overwrite=overwrite, judge=wanted is not None)
    page = _page(files, out, report_format, baseline, judge=wanted is not None)
    source = Source(tuple(files), suite, subset, on_error, metadata_of(suite))
    # A first pass finds every unusable row before anything is loaded or written; a pipe has but one pass.
    survey = None if any(map(read_once, files)) else survey_of(source)
    asked = None if wanted is None or out is None or survey is None else wanted.judge(out, survey.form())

    from refusal_clf.classifier import RefusalClassifier

    clf = RefusalClassifier.load(model, threads=threads)
    if out is None:
        result = Result(_run(source, clf, tier, survey))
    else:
        with _claimed(out):
            result = _run_into(
                out, source, clf, tier, survey, resume=resume, overwrite=overwrite, page=page, judge=asked
            )
    tell_skipped(source, out)
    print_result(result, output_format, details=details)


def _check_options(files: list[Path], out: Path | None, *, resume: bool, overwrite: bool, judge: bool) -> None:
    if judge and out is None:
        raise InputError("--judge needs --out, where its answers are kept")
    if judge and any(map(read_once, files)):
        raise InputError("--judge needs files: a pipe cannot be read again for what the judge is shown")
    if out is None and (resume or overwrite):
        raise InputError(f"{'--resume' if resume else '--overwrite'} needs --out")
    if resume and overwrite:
        raise InputError("--overwrite and --resume exclude each other")
    if resume and any(map(read_once, files)):
        raise InputError("--resume needs files: a pipe cannot be compared with what was scored before")
    if STDIN_PATH in files and sys.stdin.isatty():
        say("reading JSON lines from the terminal; Ctrl-D ends them")


def _page(
    files: list[Path], out: Path | None, wanted: str | None, baseline: Path | None, *, judge: bool
) -> ScorePage | None:
    from refusal_clf.cli.pages import ScorePage

    if wanted is None:
        if baseline is not None:
            raise InputError("--baseline is shown in the report: give --report html (`check` compares runs)")
        return None
    if out is None:
        raise InputError("--report needs --out")
    if judge and baseline is not None:
        raise InputError("--baseline has no place in the report of --judge")
    title = files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"
    return ScorePage.beside("standard input" if files == [STDIN_PATH] else title, baseline)


def _run(source: Source, clf: RefusalClassifier, tier: TierChoice, survey: Survey | None) -> Report:
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
    source: Source,
    clf: RefusalClassifier,
    tier: TierChoice,
    survey: Survey | None,
    *,
    resume: bool,
    overwrite: bool,
    page: ScorePage | None,
    judge: Judge | None,
) -> Result:
    from refusal_clf import writing
    from refusal_clf.scoring import GroupCounter

    identity: dict[str, Any] = {
        "files": [file.name for file in source.files],
        "input": survey.digest if survey else None,
        "model": clf.sha256,
        "tier": tier,
    }
    if judge is not None:
        identity["judge"] = judge.identity()
    done = writing.open_run_dir(out, overwrite=overwrite, resume=resume, run=identity).done
    if judge is not None and any(verdict.tier == "judge" for verdict in _written(out, done)):
        done = 0  # what the judge replaced is scored again, and its answers are read from the store
    counter = GroupCounter()
    keep = None if page is None or judge is not None else page.add
    for completion, verdict in zip(source.read() if done else (), _written(out, done), strict=False):
        counter.add(verdict)
        if keep is not None:
            keep(completion, verdict)
    try:
        with writing.VerdictWriter(out, resume=done > 0) as writer:
            total = survey.n if survey else None
            _judge(source, clf, tier, counter, total=total, done=done, write=writer.write, keep=keep)
    except InputError:
        # A pipe turned out unusable on the way: what came before it is no result.
        if not resume:
            for name in writing.RESULT_FILES:
                (out / name).unlink(missing_ok=True)
        raise
    except KeyboardInterrupt:
        say(f"interrupted; the same command with --resume goes on from {out}")
        raise
    hybrid = None
    if judge is not None:
        hybrid = ask_judge(judge, out, source.read, list(writing.read_verdicts(out)), clf, keep_texts=page is not None)
        writing.write_jsonl(out / writing.VERDICTS_FILE, (verdict.to_dict() for verdict in hybrid.verdicts()))
        counter = GroupCounter()
        for verdict in hybrid.verdicts():
            counter.add(verdict)
    report = replace(counter.report(clf.name, clf.sha256), n_skipped=len(source.skipped))
    result = Result(report if hybrid is None else hybrid.corrected(report), hybrid)
    write_results(out, source, clf, tier, counter, result, page)
    return result


def _written(out: Path, done: int) -> Iterator[Verdict]:
    """Yield the verdicts that a results folder holds; none if none is `done`."""
    from refusal_clf.writing import read_verdicts

    return read_verdicts(out) if done else iter(())


def _judge(
    source: Source,
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
    from refusal_clf.runtime.memory import give_back

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
            give_back()
