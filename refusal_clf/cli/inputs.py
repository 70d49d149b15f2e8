"""What a command is given to read -> files: patterns and folders are taken apart, and nothing is read twice."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from refusal_clf.records import InputError
from refusal_clf.streams import STDIN


def expand(given: Iterable[Path]) -> list[Path]:
    """Return the files of completions that arguments name, in the order given, each pattern and folder by name.

    A folder stands for the files directly in it that have an ending of completions (`formats.ENDINGS`, also .gz and
    .zst) and a name that begins with neither a dot nor an underscore; a pattern (`*`, `?`, `[…]`, `**`) for the files
    that match it. What exists by the whole name is no pattern. "-" is standard input.

    Raises
    ------
    InputError
        If a folder or pattern stands for no file, a folder holds results of `score`, or a file is named twice.
    """
    files: list[Path] = []
    seen: set[Path] = set()
    for argument in given:
        for file in _files(argument):
            if (path := file.resolve()) in seen:
                raise InputError("is given twice", file=file)
            seen.add(path)
            files.append(file)
    return files


def _files(argument: Path) -> Iterator[Path]:
    name = str(argument)
    if name == STDIN:
        yield argument
    elif argument.is_dir():
        yield from _in_folder(argument)
    elif not argument.exists() and glob.has_magic(name):
        matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207  # absolute patterns too
        found = [match for match in matches if match.is_file()]
        if not found:
            raise InputError("no file matches this pattern", file=argument)
        yield from found
    else:  # what is missing is said by whoever reads it
        yield argument


def _in_folder(folder: Path) -> list[Path]:
    from refusal_clf.formats import ENDINGS, is_completions_name
    from refusal_clf.writing import VERDICTS_FILE

    if (folder / VERDICTS_FILE).exists():
        raise InputError("is a results folder of `score`, not one of completions", file=folder)
    found = sorted(file for file in folder.iterdir() if file.is_file() and is_completions_name(file.name))
    if not found:
        raise InputError(f"no file of completions in this folder ({', '.join(ENDINGS)})", file=folder)
    return found
