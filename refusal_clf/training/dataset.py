"""Labels -> training examples: prepared text, label indices, and the keys that splits are made by."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf.formats import parse_json
from refusal_clf.reading import read_completions, read_labels
from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, InputError, Label
from refusal_clf.streams import stem_of
from refusal_clf.text import PREPARATION_VERSION, Prepared, normalise, prepare

IGNORE: Final = -100
"""The index of a label that was not given; PyTorch's cross entropy leaves it out."""

# XSTest's files hold one model twice, with and without a system prompt: near duplicates, to be left out together.
_SYSTEM_PROMPT: Final = re.compile(r"-(?:guarded|(?:no|original)-system-prompt)$")


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled completion, ready to train on or to be tested on.

    `verdict` and `refusal` index `VERDICTS` and `REFUSAL_CLASSES` (or are `IGNORE`); `model` is None for
    responses that no model wrote; `family` is the model without its system-prompt variant.
    """

    text: Prepared
    label: Label
    verdict: int
    refusal: int
    model: str | None
    family: str | None
    prompt_key: str


def load_examples(paths: Iterable[Path]) -> list[Example]:
    """Read labels files and folders of them (`*.jsonl`, sorted by name, searched recursively).

    Raises
    ------
    InputError
        If a path does not exist, a folder holds no labels file, or a file is unusable.
    """
    examples = []
    for file in label_files(paths):
        for label in read_labels(file):
            text = prepare(label.completion)
            if "empty" not in text.flags:
                examples.append(_example(label, text))
    if not examples:
        raise InputError("no labelled completion with a response among the given files")
    return examples


def load_unlabelled(paths: Iterable[Path]) -> list[Example]:
    """Read completions files, or folders of them, as examples without labels.

    Raises
    ------
    InputError
        If a path does not exist or a file is unusable.
    """
    examples = []
    for file in label_files(paths):
        for completion in read_completions(file):
            text = prepare(completion)
            if "empty" not in text.flags:
                examples.append(_example(Label(completion, None, None, "", stem_of(file)), text))
    return examples


def label_files(paths: Iterable[Path]) -> list[Path]:
    """Expand folders into the labels files that they hold.

    A folder's `manifest.json`, where it has one, keeps out what it does not mark as `"use": "training"`.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = _listed(path / "manifest.json") or sorted(path.rglob("*.jsonl")) + sorted(path.rglob("*.jsonl.gz"))
            if not found:
                raise InputError("no .jsonl file in this folder", file=path)
            files += found
        else:
            files.append(path)
    return files


def _listed(manifest: Path) -> list[Path]:
    if not manifest.is_file():
        return []
    try:
        entries = parse_json(manifest.read_text(encoding="utf-8"))["files"]
        return [manifest.parent / entry["path"] for entry in entries if entry["use"] == "training"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"unusable manifest: {error!r}", file=manifest) from error


def targets(examples: Sequence[Example]) -> NDArray[np.int64]:
    """Return label indices, shape (len(examples), 2): verdict and refusal class, `IGNORE` where not given."""
    return np.array([(example.verdict, example.refusal) for example in examples], np.int64).reshape(-1, 2)


def fingerprint(examples: Sequence[Example], *settings: object) -> str:
    """Return a sha256 over all that is learned from the examples, and the `repr` of settings.

    What a run leaves behind is used again by a later run with the same fingerprint, and by no other.
    """
    state = hashlib.sha256(repr((settings, PREPARATION_VERSION)).encode())
    for example in examples:
        text = example.text
        state.update(repr((text.heading, text.prompt, text.response, example.verdict, example.refusal)).encode())
    return state.hexdigest()


def digest(files: Iterable[Path]) -> dict[str, str]:
    """Return the sha256 of each file by its name, for the provenance of a model."""
    return {f"{file.parent.name}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _example(label: Label, text: Prepared) -> Example:
    model = label.completion.model
    return Example(
        text=text,
        label=label,
        verdict=IGNORE if label.verdict is None else VERDICTS.index(label.verdict),
        refusal=IGNORE if label.refusal is None else REFUSAL_CLASSES.index(label.refusal),
        model=model,
        family=None if model is None else _SYSTEM_PROMPT.sub("", model),
        prompt_key=hashlib.blake2b(normalise(label.completion.prompt).lower().encode(), digest_size=8).hexdigest(),
    )
