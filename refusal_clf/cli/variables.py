"""Environment variables of options: how they are called, and where a value came from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

import typer

PREFIX: Final = "REFUSAL_CLF"


def variable(*names: str) -> str:
    """Return the variable of an option: `variable("score", "on-error")` is REFUSAL_CLF_SCORE_ON_ERROR.

    An option that means the same in every command that has it goes without the command, as REFUSAL_CLF_MODEL: it is
    declared with that name in `cli.choices`, and everything else is named by `name_variables`.
    """
    return "_".join((PREFIX, *names)).replace("-", "_").upper()


def name_variables(group: Any) -> None:  # noqa: ANN401  # a click group, of whichever copy of click Typer carries
    """Give every option of every command its variable, where it was declared without one."""
    for path, command in leaves(group):
        for option in options(command):
            option.envvar = option.envvar or variable(*path, key_of(option))


def leaves(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401
    """Yield each command below a group with its name; that of `data pull` has two parts."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


def options(command: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield the options of a command, without its arguments and `--help`."""
    return (param for param in command.params if param.param_type_name == "option")


def key_of(option: Any) -> str:  # noqa: ANN401
    """Return an option's name without its dashes, which is its key in a configuration file."""
    return str(option.opts[0]).lstrip("-")


def is_shared(option: Any) -> bool:  # noqa: ANN401
    """Say whether an option means the same in every command that has it."""
    return bool(option.envvar == variable(key_of(option)))


def environment(group: Any) -> dict[str, str]:  # noqa: ANN401
    """Return the variables of options that are set, by name. Others, which may hold a key, are not looked at."""
    names = {option.envvar for _, command in leaves(group) for option in options(command)}
    return {name: os.environ[name] for name in sorted(names) if os.environ.get(name)}


def typed(context: typer.Context, *names: str) -> list[str]:
    """Return those of the options that stand on the command line, as `--name`.

    What a file or a variable says for all commands is no contradiction where it has no meaning; what was typed is.
    """
    sources = {name: context.get_parameter_source(name) for name in names}
    return [
        f"--{name.replace('_', '-')}" for name, source in sources.items() if source and source.name == "COMMANDLINE"
    ]
