"""Where labels are, as an option says it: a file or folder, and the column to take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from refusal_clf.records import InputError, Label


def labels_in(places: Sequence[str]) -> list[Label]:
    """Read each `FILE[:COLUMN]`.

    Raises
    ------
    InputError
        If a file is unusable, or none gives a label.
    """
    labels = [label for place in places for label in labels_at(place)]
    if not labels:
        raise InputError("no row gives a label", file=places[0])
    return labels


def labels_at(place: str) -> list[Label]:
    """Read `FILE[:COLUMN]`; a folder stands for all of its `.jsonl` files.

    Of what exists by the whole name, colons are a part of the name.

    Raises
    ------
    InputError
        If there is no such file, or one of its rows is unusable.
    """
    from refusal_clf.reading import read_labels

    files, column = label_files(place)
    return [label for file in files for label in read_labels(file, column=column)]


def label_files(place: str) -> tuple[list[Path], str | None]:
    """Return the files that `FILE[:COLUMN]` stands for, and the column.

    Raises
    ------
    InputError
        If it is a folder without labels.
    """
    path, _, column = place.rpartition(":")
    if not path or "/" in column or Path(place).exists():
        path, column = place, ""
    files = sorted(Path(path).glob("*.jsonl")) if Path(path).is_dir() else [Path(path)]
    if not files:
        raise InputError("no .jsonl file in this folder", file=path)
    return files, column or None
