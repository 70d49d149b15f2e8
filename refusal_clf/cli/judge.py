"""`refusal-clf judge`: labels of an LLM judge, each paid for once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from refusal_clf.cli.choices import (
    ApiKeyEnv,
    Concurrency,
    OnError,
    Subset,
    Suite,
    SuiteChoice,
    Timeout,
    UnusableRows,
    metadata_of,
)
from refusal_clf.cli.extras import need
from refusal_clf.cli.judging import CONCURRENCY, MAX_TOKENS, OPENAI, TIMEOUT, Judge, find_price, put_questions, tell
from refusal_clf.cli.progress import say
from refusal_clf.records import Completion, InputError

if TYPE_CHECKING:
    from refusal_clf.records import Verdict


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("judge")(_judge)


def _judge(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Completions: JSONL, JSON, CSV, TSV, Parquet; - is stdin.")
    ],
    model: Annotated[str, typer.Option(metavar="NAME", help="The judge's name at the endpoint, such as gpt-4o.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The labels file to write (JSONL).")],
    base_url: Annotated[
        str, typer.Option(metavar="URL", help="An OpenAI-compatible endpoint: vLLM, llama.cpp, Ollama, Azure, …")
    ] = OPENAI,
    api_key_env: ApiKeyEnv = None,
    form: Annotated[
        Literal["coconot", "xstest"],
        typer.Option(help="coconot: a verdict under the rubric of the subcategory; xstest: a refusal class."),
    ] = "coconot",
    rubric: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rubric texts, such as CoCoNot's own. (default: packaged)")
    ] = None,
    sample: Annotated[int | None, typer.Option(min=1, metavar="N", help="Judge this many rows; default: all.")] = None,
    strategy: Annotated[
        Literal["uniform", "stratified", "uncertain"] | None,
        typer.Option(help="How --sample draws; all but uniform ask the classifier first. (default: uniform)"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    max_calls: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Stop before more calls than these, earlier runs included.")
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="Stop before a call could exceed it; as --max-calls.")
    ] = None,
    prices: Annotated[Path | None, typer.Option(metavar="FILE", help="Price table (JSON). (default: packaged)")] = None,
    concurrency: Concurrency = CONCURRENCY,
    timeout: Timeout = TIMEOUT,
    max_tokens: Annotated[
        int, typer.Option(min=16, metavar="N", help="The longest answer; reasoning models need more.")
    ] = MAX_TOKENS,
    batch: Annotated[bool, typer.Option("--batch", help="OpenAI's Batch API: half the price, within a day.")] = False,
    poll: Annotated[float, typer.Option(min=0.01, metavar="SECONDS", help="How often to look at a batch.")] = 30.0,
    store: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where answers are kept. (default: OUT with .sqlite)")
    ] = None,
    suite: Suite = "auto",
    subset: Subset = None,
    on_error: UnusableRows = "fail",
    output_format: Annotated[
        Literal["table", "json"], typer.Option("--format", help="How the summary is printed.")
    ] = "table",
) -> None:
    """Have an LLM judge label completions: all of them, or a sample for `calibrate`.

    Example: refusal-clf judge completions.jsonl --model gpt-4o --sample 300 --max-cost 2 --out labels.jsonl

    Every answer is kept beside the labels and never paid for again: after an interruption, the same command goes on.
    """
    need("judge", "openai")
    from refusal_clf.judge.client import Endpoint, key_from
    from refusal_clf.judge.prompts import LABELS
    from refusal_clf.judge.rows import choose, label_row
    from refusal_clf.judge.rubric import load_rubric
    from refusal_clf.judge.session import Plan
    from refusal_clf.locking import locked_file
    from refusal_clf.writing import write_jsonl

    if form == "xstest" and rubric is not None:
        raise InputError("--rubric has no meaning with --form xstest, which knows no rubric")
    if strategy is not None and sample is None:
        raise InputError("--strategy has no meaning without --sample")
    strategy = strategy or "uniform"
    endpoint = Endpoint(model, base_url, key_from(api_key_env, base_url), timeout, max_tokens)
    texts = None if form == "xstest" else load_rubric(rubric)
    kept = store or out.with_suffix(".sqlite")
    _check_out(out, kept, file)
    price, batch_price = find_price(model, prices, max_cost)
    plan = Plan(
        store=kept,
        labels=LABELS[form],
        rubric=texts.name if texts else None,
        max_calls=max_calls,
        max_cost=max_cost,
        price=price,
        batch_price=batch_price,
        concurrency=concurrency,
        batch=batch,
        poll=poll,
    )
    completions = _read(file, suite, subset, on_error)
    verdicts = None if sample is None or strategy == "uniform" else _verdicts(completions)
    design = choose(completions, verdicts, sample, strategy, seed, form)

    with locked_file(out):
        asked = put_questions(Judge(endpoint, form, texts, plan), completions, design)
        problem = asked.outcome.problem
        if asked.reached or problem is None:
            write_jsonl(out, map(label_row, asked.labels.values()))
    if problem is not None:
        raise InputError(f"{problem}; the labels so far are in {out}" if asked.reached else str(problem))
    tell(asked)
    say(f"wrote {out}")
    _print({"rows": len(completions), **asked.facts()}, output_format)


def _check_out(out: Path, store: Path, completions: Path) -> None:
    if out.is_dir():
        raise InputError("is a directory, not a file", file=out)
    if out.suffix.lower() != ".jsonl":
        raise InputError("labels are written as JSON lines: let the name end in .jsonl", file=out)
    if completions.resolve() in (out.resolve(), store.resolve()):
        raise InputError("is the file of completions; it would be overwritten", file=completions)
    if store.resolve() == out.resolve():
        raise InputError("is both the labels file and the store; name another with --store", file=out)
    if out.exists() and not store.exists():
        raise InputError(f"exists, and no answers of it are kept in {store}; give another --out", file=out)


def _read(file: Path, suite: SuiteChoice, subset: str | None, on_error: OnError) -> list[Completion]:
    from refusal_clf.reading import read_completions
    from refusal_clf.streams import name_of

    metadata = metadata_of(suite)
    return list(
        read_completions(
            file,
            suite=suite,
            subset=subset,
            on_error=on_error,
            skipped=lambda row: say(f"{name_of(file)}:{row.line}: skipped: {row.reason}"),
            metadata=metadata,
        )
    )


def _verdicts(completions: list[Completion]) -> list[Verdict]:
    from refusal_clf.classifier import RefusalClassifier

    return RefusalClassifier.load().predict(completions)


def _print(facts: dict[str, Any], output_format: str) -> None:
    if output_format == "json":
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{label} {count:,}" for label, count in value.items())
        elif value is None:
            value = "not known" if name == "cost_usd" else "all rows"
        typer.echo(f"{name.replace('_', ' '):<20} {f'{value:,}' if isinstance(value, int) else value}")
