"""Defaults of options from a file: `refusal-clf.toml`, or `[tool.refusal-clf]` in `pyproject.toml`.

The nearest one is taken, from the working directory upward to the root of its repository. Keys are names of options:
at the top those that several commands share (`cli.variables.is_shared`), in a table of its own those of a command. A
flag overrides a variable, a variable the file, and the file an option's default.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

from refusal_clf.cli.variables import is_shared, key_of, leaves, options
from refusal_clf.records import InputError

FILE: Final = "refusal-clf.toml"
PYPROJECT: Final = "pyproject.toml"
TABLE: Final = "refusal-clf"

NEVER: Final = frozenset({"api-key-env", "base-url", "judge-api-key-env", "judge-base-url"})
"""Options that a file may not set: which secret and which texts are sent to which address is said by whoever starts the
command, not by a file that came with a directory. No option takes a secret itself."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A file's settings.

    Attributes
    ----------
    file
        Where they stand.
    given
        As they stand there: keys, and tables of commands.
    defaults
        What they mean, in the form of click's `default_map`: command -> parameter -> value.
    """

    file: Path
    given: dict[str, Any]
    defaults: dict[str, Any]


def load(group: Any, folder: Path) -> Configuration | None:  # noqa: ANN401  # a click group
    """Return the configuration that is in force in a folder, or None if there is none.

    Raises
    ------
    InputError
        If it is no TOML, or sets what is no option; the message names the file and the key.
    """
    for place in _places(folder):
        given = _table(place)
        if given is not None:
            return Configuration(place, given, _Reader(place, group).defaults(given))
    return None


def _places(folder: Path) -> Iterator[Path]:
    here = folder.absolute()
    for directory in (here, *here.parents):
        for name in (FILE, PYPROJECT):
            if (directory / name).is_file():
                yield directory / name
        if (directory / ".git").exists():
            return


def _table(file: Path) -> dict[str, Any] | None:
    """Return the settings in a file; None for a project file of something else."""
    try:
        text = file.read_text(encoding="utf-8")
        if file.name == PYPROJECT and TABLE not in text:  # most are, and are not worth parsing
            return None
        import tomllib

        document = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:  # a nesting of thousands of levels
        raise InputError(f"not TOML that can be read ({error})", file=file) from error
    if file.name == FILE:
        return document
    tools = document.get("tool", {})
    table = tools.get(TABLE) if isinstance(tools, dict) else None
    if table is not None and not isinstance(table, dict):
        raise InputError(f"tool.{TABLE} is no table", file=file)
    return table


@dataclass(frozen=True, slots=True)
class _Reader:
    """Holds the settings of one file against the options that there are."""

    file: Path
    group: Any

    def defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return what each command takes of a file's settings."""
        shared = {key: value for key, value in given.items() if not isinstance(value, dict)}
        commands = dict(leaves(self.group))
        self._known(shared, {key_of(o) for c in commands.values() for o in options(c) if is_shared(o)}, "")
        self._tables(given, self.group, ())
        found: dict[str, Any] = {}
        for path, command in commands.items():
            own: Any = given
            for name in path:
                own = own.get(name, {})
            self._known(own, {key_of(option) for option in options(command)}, self._shown(path))
            values = self._values(command, own, shared, self._shown(path))
            at = found
            for name in path[:-1]:
                at = at.setdefault(name, {})
            at[path[-1]] = values
        return found

    def _tables(self, given: dict[str, Any], group: Any, path: tuple[str, ...]) -> None:  # noqa: ANN401
        """Refuse tables of what is no command; below a group of commands there is nothing but tables."""
        for name, value in given.items():
            command = group.commands.get(name)
            if isinstance(value, dict) and command is None:
                self._unknown(name, list(group.commands), self._shown(path), "command")
            elif isinstance(value, dict) and hasattr(command, "commands"):
                self._tables(value, command, (*path, name))
            elif command is not None and not isinstance(value, dict):
                raise InputError(f"{self._shown(path)}'{name}' is a command: it takes a table", file=self.file)
            elif path and command is None:
                self._unknown(name, list(group.commands), self._shown(path), "command")

    def _known(self, table: dict[str, Any], known: set[str], where: str) -> None:
        for key in table:
            if key in NEVER:
                raise InputError(f"{where}'{key}' is never read from a file: give it as an option", file=self.file)
            if key not in known and not (not where and key in self.group.commands):
                self._unknown(key, sorted(known - NEVER), where, "key")

    def _unknown(self, name: str, known: list[str], where: str, what: str) -> None:
        from difflib import get_close_matches

        close = get_close_matches(name, known, 1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
        raise InputError(f"{where}unknown {what} '{name}' ({hint})", file=self.file)

    def _values(self, command: Any, own: dict[str, Any], shared: dict[str, Any], where: str) -> dict[str, Any]:  # noqa: ANN401
        values = {}
        hints = get_type_hints(command.callback) if own or shared else {}
        for option in options(command):
            key = key_of(option)
            if key in own:
                value = self._value(option, own[key], f"{where}'{key}'")
            elif key in shared and is_shared(option):
                value = self._value(option, shared[key], f"'{key}'")
            else:
                continue
            values[option.name] = self._placed(value, option.metavar or "", _takes_path(hints.get(option.name)))
        return values

    def _value(self, option: Any, value: object, where: str) -> Any:  # noqa: ANN401
        if isinstance(value, list) and not option.multiple:
            raise InputError(f"{where} is a list, and takes one value", file=self.file)
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, str | int | float):
                raise InputError(f"{where} holds what is no text, number, true or false", file=self.file)
            if isinstance(item, bool) != bool(option.is_flag):
                raise InputError(f"{where} {'takes' if option.is_flag else 'is'} true or false", file=self.file)
        return [value] if option.multiple and not isinstance(value, list) else value

    def _placed(self, value: Any, metavar: str, takes_path: bool) -> Any:  # noqa: ANN401
        """Return paths as seen from the file's folder; a name that may be one (`NAME|DIR`) only if it exists there."""
        if isinstance(value, list):
            return [self._placed(item, metavar, takes_path) for item in value]
        if not isinstance(value, str):
            return value
        place = self.file.parent / value
        is_path = takes_path or metavar.startswith("FILE[") or ("DIR" in metavar and place.is_dir())
        return str(place) if is_path else value

    @staticmethod
    def _shown(path: tuple[str, ...]) -> str:
        return f"[{'.'.join(path)}] " if path else ""


def _takes_path(hint: object) -> bool:
    return hint is Path or any(map(_takes_path, get_args(hint)))
