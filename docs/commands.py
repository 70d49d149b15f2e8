"""Write docs/commands.md from the command line's own help.

    python docs/commands.py

The page holds what `refusal-clf COMMAND --help` prints, laid out without a terminal's width. A test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer

from refusal_clf.cli import PROGRAM, command

PAGE: Final = Path(__file__).with_suffix(".md")

_HEAD: Final = """\
# Commands

Written by `python docs/commands.py` from the help texts: change those, not this page.

Every option can also be set by the environment variable that stands with it, and by a configuration file:
`refusal-clf.toml`, or the table `[tool.refusal-clf]` of a `pyproject.toml`, whichever is nearest from the working
directory upward to the root of its repository. Keys are the options' names without dashes in front; those of one
command stand in a table of its name. A flag overrides a variable, a variable the file. Paths are relative to the file.
`refusal-clf info` shows what is in force.

    threads = 2                 # for every command that has it: model, tier, threads, suite, subset, format

    [score]
    details = true

    [check]
    limits = "refusal-limits.toml"
    max-overrefusal-rise = 0.01

`base-url` and `api-key-env` are never read from a file (what is sent where is no business of a directory), and no
option takes a key itself.
"""

_PARAGRAPH: Final = re.compile(r"\s*\n\s*")


def page() -> str:
    """Return the whole page."""
    group = command()
    context = typer.Context(group, info_name=PROGRAM)
    return "\n".join([_HEAD, *_section(group, context)])


def _section(item: Any, context: Any) -> Iterator[str]:  # noqa: ANN401  # of whichever copy of click
    """Yield the lines of a command, and of those below it."""
    yield f"## {context.command_path}\n"
    yield f"    {' '.join([context.command_path, *item.collect_usage_pieces(context)])}\n"
    for paragraph in (item.help or "").strip().split("\n\n"):
        text = _PARAGRAPH.sub(" ", paragraph.strip())
        before, example, command_line = text.partition(f": {PROGRAM} ")
        yield f"{before}:\n\n    {PROGRAM} {command_line}\n" if example else f"{text}\n"
    rows = [record for param in item.get_params(context) if (record := param.get_help_record(context))]
    yield "\n".join(_entry(*row) for row in rows) + "\n"
    for name, child in getattr(item, "commands", {}).items():
        yield from _section(child, typer.Context(child, info_name=name, parent=context))


def _entry(names: str, text: str) -> str:
    return f"- `{names}`: {_PARAGRAPH.sub(' ', text)}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
