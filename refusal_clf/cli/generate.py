"""`refusal-clf generate`: a model's completions of a suite, for `score` and `check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from refusal_clf.cli.bar import progress
from refusal_clf.cli.choices import ApiKeyEnv, Concurrency, Timeout
from refusal_clf.cli.extras import need
from refusal_clf.cli.progress import say
from refusal_clf.records import Completion, InputError

if TYPE_CHECKING:
    from refusal_clf.generation.outcome import Outcome

_FAILURES_SHOWN: Final = 3


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("generate")(_generate)


def _generate(
    suite: Annotated[
        str, typer.Option(metavar="FILE|NAME", help="Prompts: a file, or coconot or xstest if its data is at hand.")
    ],
    model: Annotated[
        str, typer.Option(metavar="NAME|DIR", help="The model's name at the endpoint, or a transformers directory.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The completions to write (JSONL).")],
    base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="An OpenAI-compatible endpoint: vLLM, llama.cpp, …; without it, DIR is run."),
    ] = None,
    api_key_env: ApiKeyEnv = None,
    system: Annotated[Path | None, typer.Option(metavar="FILE", help="A system message, from a text file.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="So many prompts, each subcategory in its proportion.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, metavar="N", help="The longest answer.")] = 512,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="Of an endpoint; 0: the likeliest answer.")] = 0.0,
    concurrency: Concurrency = 8,
    timeout: Timeout = 120.0,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Prompts that DIR answers together.")] = 8,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what an earlier run left in OUT.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Let a model answer a suite's prompts; `score` and `check` read the answers.

    Example: refusal-clf generate --suite coconot --model my-model --base-url http://localhost:8000/v1 --out c.jsonl

    Each answer is on disk as it comes: after an interruption, the same command with --resume goes on. Prompts that get
    no answer are left out and counted; exit status 2 then, and --resume asks for them again.
    """
    _check_options(model, base_url, api_key_env, temperature)
    endpoint = None
    if base_url is None:
        need("trainer", "torch", "transformers")
    else:
        need("judge", "openai")
        from refusal_clf.judge.client import Endpoint, key_from

        endpoint = Endpoint(model, base_url, key_from(api_key_env, base_url), timeout, max_tokens, temperature)
    from refusal_clf.generation.fingerprint import weights_digest
    from refusal_clf.generation.output import CompletionsFile
    from refusal_clf.generation.prompts import suite_prompts
    from refusal_clf.locking import locked_file

    message = _text(system)
    prompts = suite_prompts(suite, limit)
    if Path(suite).exists() and Path(suite).resolve() == out.resolve():
        raise InputError("is the file of prompts; it would be overwritten", file=out)
    settings = {
        "model": model,
        "system": None if message is None else blake2b(message.encode(), digest_size=16).hexdigest(),
        "max_tokens": max_tokens,
        "temperature": temperature,
        "weights": weights_digest(Path(model)) if endpoint is None else None,
    }
    with locked_file(out):
        file = CompletionsFile(out, settings, resume=resume, overwrite=overwrite)
        left = file.missing(prompts)
        try:
            with file, progress("generating", len(prompts), len(prompts) - len(left)) as advance:

                def taken(completion: Completion) -> None:
                    file.add(completion)
                    advance(1)

                if endpoint is not None:
                    from refusal_clf.generation.remote import answer_all

                    asked, known = [prompts[place] for place in left], bool(file.done)
                    outcome = answer_all(endpoint, asked, taken, system=message, concurrency=concurrency, known=known)
                else:
                    outcome = _answer_here(Path(model), prompts, left, taken, message, max_tokens, batch_size)
        except KeyboardInterrupt:
            say(f"interrupted; the same command with --resume goes on with {out}")
            raise
        file.in_order(prompts)
    if file.untouched and (outcome.problem or outcome.failed):
        raise InputError(f"{outcome.problem or outcome.failed[0]}; {out} is as it was")
    _tell(outcome, len(file.done), len(prompts), out, max_tokens)


def _check_options(model: str, base_url: str | None, api_key_env: str | None, temperature: float) -> None:
    if base_url is not None:
        return
    if not Path(model).is_dir():
        raise InputError("no such directory; a name at an endpoint needs --base-url", file=model)
    if api_key_env is not None or temperature:
        raise InputError(f"{'--temperature' if temperature else '--api-key-env'} has no meaning without --base-url")


def _text(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from error
    except UnicodeDecodeError as error:
        raise InputError("not valid UTF-8", file=path) from error


def _answer_here(
    directory: Path,
    prompts: list[Completion],
    left: list[int],
    take: Callable[[Completion], None],
    system: str | None,
    max_tokens: int,
    batch_size: int,
) -> Outcome:
    from refusal_clf.generation.outcome import Outcome

    outcome = Outcome()
    if not left:
        return outcome
    from refusal_clf.generation.local import answer_prompts, load_local

    model, tokenizer = load_local(directory)
    name = directory.resolve().name
    answers = answer_prompts(
        model, tokenizer, prompts, set(left), name, system=system, batch_size=batch_size, max_new_tokens=max_tokens
    )
    for completion, cut in answers:
        take(completion)
        outcome.answered += 1
        outcome.cut += cut
    return outcome


def _tell(outcome: Outcome, done: int, wanted: int, out: Path, max_tokens: int) -> None:
    """Say what became of the prompts; raise if some have no completion."""
    say(f"wrote {done:,} of {wanted:,} completions to {out} ({outcome.answered:,} of them new)")
    if outcome.cut:
        say(f"{outcome.cut:,} answers were cut at --max-tokens {max_tokens}")
    for reason, count in Counter(outcome.failed).most_common(_FAILURES_SHOWN):
        say(f"  {count:,} × {reason}")
    if outcome.problem is not None:
        raise InputError(f"{outcome.problem}; --resume goes on")
    if outcome.failed:
        raise InputError(
            f"{len(outcome.failed):,} prompts got no answer and are left out; --resume asks for them again"
        )
