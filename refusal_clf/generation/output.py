"""Completions on disk: a line as soon as there is an answer, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self

from refusal_clf.reading import read_completions
from refusal_clf.records import Completion, InputError
from refusal_clf.writing import check_same_run, complete_lines, json_line, naming, write_json, write_jsonl

Key = tuple[str, str | None, str | None, str]


class CompletionsFile:
    """A file of completions that grows, and the settings that they were made with beside it.

    Lines stand in the order of the answers while it grows; `in_order` puts them into that of the suite.

    Parameters
    ----------
    path
        The file. Its settings are kept in `<name>.run.json`, since answers of two settings must not be mixed.
    settings
        What decides an answer, as JSON values.
    resume, overwrite
        What to do with a file that exists; it is replaced when there is an answer to replace it with.

    Attributes
    ----------
    untouched
        Whether the file is still the one that is to be overwritten.

    Raises
    ------
    InputError
        If it exists and neither is given, or was made with other settings, or cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        self.path = path
        self.done: list[Completion] = []
        run = path.with_name(f"{path.stem}.run.json")
        if resume and overwrite:
            raise InputError("--overwrite and --resume exclude each other")
        if path.suffix.lower() != ".jsonl" or path.is_dir():
            raise InputError("completions are written as JSON lines: give a file whose name ends in .jsonl", file=path)
        if path.exists() and not resume and not overwrite:
            raise InputError("exists; give --resume to go on with it, or --overwrite", file=path)
        if path.exists() and resume:
            check_same_run(run, settings, path)
            if complete_lines(path):
                self.done = list(read_completions(path))
        self._run, self._settings = run, settings
        self.untouched = overwrite and path.exists()
        if not self.untouched:
            write_json(run, settings)
        self._stream: IO[str] | None = None
        self._opened: os.stat_result | None = None

    def __enter__(self) -> Self:
        try:
            self._stream = self.path.open("a", encoding="utf-8", errors="replace", newline="\n")
        except OSError as error:
            raise InputError(f"cannot be written ({error.strerror})", file=self.path) from error
        self._opened = os.fstat(self._stream.fileno())
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        try:
            stream.close()
        except OSError:
            if kind is None:  # else what ended the block is the news, and the line is torn
                raise

    def add(self, completion: Completion) -> None:
        """Append a completion, on disk before this returns."""
        if self._stream is None:
            raise ValueError("CompletionsFile is used outside its with block")
        if self.untouched:
            self._stream.truncate(0)
            write_json(self._run, self._settings)
            self.untouched = False
        with naming(self.path):
            self._stream.write(json_line(_row(completion)))
            self._stream.flush()
        self.done.append(completion)

    def missing(self, prompts: Sequence[Completion]) -> list[int]:
        """Return the places of prompts without a completion; of equal prompts without ids, as many as are left."""
        held = Counter(_key(completion) for completion in self.done)
        left = []
        for place, prompt in enumerate(prompts):
            if held[_key(prompt)]:
                held[_key(prompt)] -= 1
            else:
                left.append(place)
        return left

    def in_order(self, prompts: Iterable[Completion]) -> None:
        """Rewrite the file in the order of the suite, all or nothing; what is no prompt of it comes last.

        If it was deleted meanwhile it is there again: every answer is still at hand.

        Raises
        ------
        InputError
            If another file lies in its place.
        """
        if self.untouched:
            return
        if self._opened is not None and self.path.exists():
            if not os.path.samestat(self._opened, self.path.stat()):
                raise InputError("was replaced while it was written; it is left as it is", file=self.path)
        else:
            write_json(self._run, self._settings)
        place: dict[Key, int] = {}
        for number, prompt in enumerate(prompts):
            place.setdefault(_key(prompt), number)
        ordered = sorted(self.done, key=lambda completion: place.get(_key(completion), len(place)))
        write_jsonl(self.path, map(_row, ordered))


def _key(completion: Completion) -> Key:
    return completion.suite, completion.subset, completion.id, completion.prompt


def _row(completion: Completion) -> dict[str, Any]:
    """Return a line: metadata, then prompt and response; what is not known is left out."""
    row = asdict(completion)
    texts = {"prompt": row.pop("prompt"), "response": row.pop("response")}
    return {name: value for name, value in row.items() if value is not None} | texts
