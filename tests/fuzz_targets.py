"""What is fuzzed: each target reads bytes as a file or a text of its kind, and asserts what must hold of any bytes.

Here are readers, texts and loaders; `fuzz_writers` has the reports, and `fuzz_commands` what single commands read.

A target returns, or raises `InputError`, the one line that a user sees. Everything else is a finding, and so is an
input that takes longer than `SECONDS`. `benchmarks/fuzz.py` feeds them for hours, `test_fuzz_corpus.py` replays what is
kept under `fuzz_corpus/`.
"""

from __future__ import annotations

import gzip
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fuzz_commands
import fuzz_writers

from refusal_clf import formats
from refusal_clf.fields import clean
from refusal_clf.judge.parsing import parse_label
from refusal_clf.judge.prices import load_prices
from refusal_clf.judge.prompts import LABELS
from refusal_clf.judge.rubric import load_rubric
from refusal_clf.limits import read_limits
from refusal_clf.reading import read_completions, read_labels
from refusal_clf.records import Completion, InputError
from refusal_clf.report.escaping import markdown_cell, printable
from refusal_clf.runtime.layout import read_config
from refusal_clf.runtime.lexical import features
from refusal_clf.runtime.tokens import load_tokenizer
from refusal_clf.text import HEAD_CHARS, TAIL_CHARS, normalise, prepare
from refusal_clf.writing import read_verdicts

SECONDS = 10
"""The longest that one input may keep a processor, with coverage recorded: a row takes a millisecond."""

LONG_CHARS = 100_000
"""More than what is looked at of any text: quadratic time shows."""
SHORT_CHARS = 1_000
"""Enough for every rule of the preparation, and a hundred times quicker."""
LONGEST = {"text": 500, "long_text": 100, **dict.fromkeys(fuzz_writers.TARGETS, 400)}
"""The most bytes of an input that `benchmarks/fuzz.py` makes, where it is not `DEFAULT_LONGEST`."""
DEFAULT_LONGEST = 20_000
_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def _file(name: str, data: bytes) -> Path:
    path = _FOLDER / name
    path.write_bytes(data)
    return path


def _rows_are_all_accounted_for(name: str) -> Callable[[bytes], None]:
    """Make a target that reads completions: no row may vanish between the file and what is scored or skipped."""

    def target(data: bytes) -> None:
        path = _file(name, data)
        rows = sum(1 for _ in formats.read_rows(path))
        skipped: list[formats.SkippedRow] = []
        used = 0
        try:
            for completion in read_completions(path, on_error="skip", skipped=skipped.append):
                used += 1
                assert clean(completion.response) == completion.response
        except InputError as error:
            message = str(error)
            if not ((formats.is_table(path) and "no response field" in message) or not used):
                raise AssertionError(f"{message}, after {used} rows") from error
        else:
            assert used + len(skipped) == rows

    return target


def _json_lines(data: bytes) -> None:
    _rows_are_all_accounted_for("a.jsonl")(data)
    body = data.removeprefix(b"\xef\xbb\xbf")
    if not re.match(rb"\s*\[\s*(?:[{\]]|\Z)", body):
        rows = sum(1 for _ in formats.read_rows(_FOLDER / "a.jsonl"))
        assert rows == sum(bool(line.strip()) for line in body.split(b"\n"))


def _packed(data: bytes) -> None:
    """Read the bytes as an archive, and packed as one."""
    try:
        _rows_are_all_accounted_for("a.jsonl.gz")(data)
    except InputError:
        _rows_are_all_accounted_for("b.jsonl.gz")(gzip.compress(data, 1))


def _labels(data: bytes) -> None:
    for _ in read_labels(_file("labels.jsonl", data)):
        pass


def _verdicts(data: bytes) -> None:
    for verdict in read_verdicts(_file("verdicts.jsonl", data)):
        json.dumps(verdict.to_dict(), allow_nan=False)


def texts(data: bytes, longest: int = LONG_CHARS) -> Iterator[str]:
    """Yield the text of some bytes; what stands behind the last U+0001 is repeated up to `longest` characters, too."""
    text = data.decode("utf-8", "surrogateescape")  # lone surrogates for what is no UTF-8
    yield text
    start, mark, unit = text.rpartition("\x01")
    if mark and unit:
        yield start + unit * (longest // len(unit))


def _prepare(data: bytes, longest: int = SHORT_CHARS) -> None:
    for text in texts(data, longest):
        for completion in (Completion(prompt=text, response="x"), Completion(prompt="x", response=text)):
            prepared = prepare(completion)
            for part in (prepared.prompt, prepared.response):
                assert len(part) <= HEAD_CHARS + TAIL_CHARS + 1
                assert not _SURROGATE.search(part)
            assert ("empty" in prepared.flags) == (not prepared.response)
            index = features(prepared, 18)
            assert index.size == 0 or int(index.max()) < 2**18
        once = normalise(text[:5000])
        assert normalise(once) == once
        line = printable(text)
        assert len(line) <= 80
        assert line.isprintable() or line == ""
        assert "\n" not in markdown_cell(text)


def _parse_label(data: bytes) -> None:
    for text in texts(data):
        for labels in LABELS.values():
            assert parse_label(text, labels) in (None, *labels)


def _config(data: bytes) -> None:
    folder = _FOLDER / "model"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_bytes(data)
    repr(read_config(folder))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "json_lines": _json_lines,
    "json_document": _rows_are_all_accounted_for("a.json"),
    "csv": _rows_are_all_accounted_for("a.csv"),
    "tsv": _rows_are_all_accounted_for("a.tsv"),
    "gzip": _packed,
    "zstd": _rows_are_all_accounted_for("a.jsonl.zst"),
    "parquet": _rows_are_all_accounted_for("a.parquet"),
    "labels": _labels,
    "verdicts": _verdicts,
    "text": _prepare,
    "long_text": lambda data: _prepare(data, LONG_CHARS),
    "judge_answer": _parse_label,
    "rubric": lambda data: load_rubric(_file("rubric.json", data)) and None,
    "prices": lambda data: load_prices(_file("prices.json", data)) and None,
    "limits": lambda data: read_limits(_file("limits.toml", data)) and None,
    "model_config": _config,
    "tokenizer": lambda data: load_tokenizer(_file("tokenizer.json", data)) and None,
    **fuzz_writers.TARGETS,
    **fuzz_commands.TARGETS,
}


def run(target: str, data: bytes) -> None:
    """Feed one input; `InputError` is an answer, and must be one line."""
    started, message = time.process_time(), ""
    try:
        TARGETS[target](data)
    except InputError as error:
        message = str(error)
    # Not of the clock: a machine that is busy with other things finds nothing.
    assert time.process_time() - started < SECONDS
    assert "\n" not in printable(message, limit=2000)
