"""The command line. One module a command; each imports what it needs only when it runs, so that help is quick."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
import typer.main

from refusal_clf import __version__
from refusal_clf.cli import (
    bench,
    calibrate,
    check,
    classify,
    compare,
    data,
    distil,
    evaluate,
    explain,
    export,
    generate,
    info,
    judge,
    plan,
    review,
    score,
    serve,
    train,
)
from refusal_clf.cli.configuration import Configuration, load
from refusal_clf.cli.variables import name_variables
from refusal_clf.records import InputError

PROGRAM: Final = "refusal-clf"
UNUSABLE: Final = 2
"""Exit status of unusable input or arguments."""

_INTERNAL: Final = 70  # EX_SOFTWARE of sysexits.h: 1 must go on meaning that the gate of `check` failed
_INTERRUPTED: Final = 130
_TERMINATED: Final = 143
_BROKEN_PIPE: Final = 141
_COMPLETION: Final = "_REFUSAL_CLF_COMPLETE"
"""Set by the shells' completion scripts."""


# Typer may carry its own copy of click, so that the class is reached through what Typer exports of it:
# BadParameter, UsageError, ClickException.
_ClickException: Final[type] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name=PROGRAM,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # its tracebacks show local variables: other people's prompts and responses
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere.")] = False,
) -> None:
    """Did the model comply, refuse, or do something between? Score responses offline, on a CPU.

    Example: refusal-clf score completions.jsonl
    """


_COMMANDS: Final = (
    score, classify, explain, check, compare, generate, serve, judge, review, calibrate, plan, train, evaluate, distil,
    export, data, info, bench,
)  # fmt: skip
for _command in _COMMANDS:
    _command.register(app)


def command() -> Any:  # noqa: ANN401  # a click group, of whichever copy of click Typer carries
    """Return the command line as click sees it, every option with its variable."""
    group = typer.main.get_command(app)
    name_variables(group)
    return group


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 success, 1 a failed gate, 2 unusable input or arguments.

    Whatever a user can mend is one line on standard error; `--debug` shows where it was raised.

    Parameters
    ----------
    argv
        Arguments without the program's name; default: those of the process.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    end = given.index("--") if "--" in given else len(given)
    debug = "--debug" in given[:end]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # an arrow that a terminal's encoding lacks must not stop a run
    terminated: list[int] = []

    def terminate(number: int, _: object) -> NoReturn:
        """End in order, as Ctrl-C does, when a batch system or a service manager says so."""
        terminated.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)
    arguments = [argument for argument in given[:end] if argument != "--debug"] + given[end:]
    try:
        group = command()
        settings = _configuration(group, arguments)
        code = group.main(
            arguments or ["--help"],
            prog_name=PROGRAM,
            standalone_mode=False,
            default_map=settings.defaults if settings else None,
            obj=settings,
        )
        sys.stdout.flush()
    except InputError as error:
        if debug:
            raise
        _fail(str(error), UNUSABLE)
    except BrokenPipeError:
        _discard_output()
    except SystemExit as error:  # how Typer ends a broken pipe, and completion
        if isinstance(error.__context__, BrokenPipeError):
            _discard_output()
        sys.exit(UNUSABLE if error.code == 1 else error.code)  # a shell that it does not know
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except Exception as error:
        if isinstance(error, _ClickException):
            _fail(_usage_message(error), UNUSABLE)
        if debug:
            raise
        if isinstance(error, OSError):
            where = f"{error.filename}: " if error.filename else ""
            _fail(f"{where}{error.strerror or error}", UNUSABLE)
        _fail(f"internal error, {type(error).__name__}: {error} (--debug shows where)", _INTERNAL)
    if terminated:
        sys.exit(_TERMINATED)
    if not arguments:  # help was all that could be done for a command that names nothing to do
        sys.exit(UNUSABLE)
    sys.exit(code if isinstance(code, int) else 0)


def _configuration(group: Any, arguments: Sequence[str]) -> Configuration | None:  # noqa: ANN401
    """Return the file's settings; none where no command runs: help must work whatever a file holds."""
    if not arguments or arguments[0].startswith("-") or "--help" in arguments or _COMPLETION in os.environ:
        return None
    return load(group, Path.cwd())


def _fail(message: str, code: int) -> NoReturn:
    """Print one line, whatever the message holds, and exit."""
    from refusal_clf.report.escaping import printable

    line = f"{PROGRAM}: error: {printable(message, limit=2000)}"
    typer.echo(line if os.environ.get("NO_COLOR") else typer.style(line, fg=typer.colors.RED), err=True)
    sys.exit(code)


def _usage_message(error: Exception) -> str:
    """Say what is wrong and where the value came from: Typer names an option's variable wherever it came from."""
    message: str = error.format_message()  # type: ignore[attr-defined]
    context, param = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None:
        return message
    source = context.get_parameter_source(param.name) if param is not None else None
    if param is not None and (source is None or source.name != "ENVIRONMENT"):
        message = message.replace(f" (env var: '{param.envvar}')", "")
    if source is not None and source.name == "DEFAULT_MAP":
        return f"{context.obj.file}: {message}"
    return f"{message} (try '{context.command_path} --help')"


def _discard_output() -> NoReturn:
    """Point standard output nowhere, or the interpreter would complain once more when it closes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(_BROKEN_PIPE)
