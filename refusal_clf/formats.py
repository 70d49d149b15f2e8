"""File formats -> rows: JSON lines, JSON arrays, CSV, TSV and Parquet, each plain, .gz or .zst; Inspect's .eval logs.

Knows nothing of what a row means (`fields` does). A row that cannot be read becomes a `SkippedRow`, so that the
caller chooses between stopping and going on; what spoils the whole file raises `InputError` at once.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from refusal_clf.json_arrays import array_items
from refusal_clf.records import InputError
from refusal_clf.streams import MAX_LINE_BYTES, check_readable, endings, name_of, peek, read_chunks, split_lines

MAX_CELLS: Final = 2**17
"""The most cells of a row of a table: a line of nothing but commas is one of tens of millions."""
MAX_UNPACKED_BYTES: Final = 2**30
"""The largest Parquet file that is unpacked: it goes to a temporary file, since it is read from its end."""

ENDINGS: Final = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""What the names of files of completions end in, but for .gz and .zst; any other ending is read as JSON lines."""

_RAW_CHARS: Final = 200
_UNDECODABLE: Final = re.compile(r"[\udc80-\udcff]")
# An array of objects, or an empty one; a line such as `[1, 2]` is a bad line of JSON lines.
_ARRAY_START: Final = re.compile(rb"\s*\[\s*(?:[{\]]|\Z)")


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a file as it stands there; `line` counts from 1, in Parquet it is the row."""

    line: int
    values: dict[str, Any]
    raw: str


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that cannot be used, why, and its first 200 characters."""

    line: int
    reason: str
    raw: str


def skipped(line: int, reason: str, raw: str) -> SkippedRow:
    """Return a `SkippedRow` with its text clipped."""
    return SkippedRow(line, reason, raw[:_RAW_CHARS].strip("\r\n"))


def is_table(path: Path) -> bool:
    """Say whether every row of the file has the same columns (CSV, TSV, Parquet)."""
    return endings(path)[1].lower() in {".csv", ".tsv", ".parquet"}


def is_completions_name(name: str) -> bool:
    """Say whether a file in a folder is taken for completions: by its ending, and unless it is hidden or set aside."""
    return not name.startswith((".", "_")) and endings(Path(name))[1].lower() in ENDINGS


def read_rows(path: Path) -> Iterator[Row | SkippedRow]:
    """Yield the rows of a file in order; the memory needed does not grow with the file.

    Parameters
    ----------
    path
        The ending tells the format; an unknown one is read as JSON lines. "-" is standard input, as JSON lines.

    Raises
    ------
    InputError
        If the file is missing, empty, a corrupt archive or table, or in need of an extra that is not installed.
    """
    check_readable(path)
    _, suffix, packed = endings(path)
    kind = suffix.lower()
    rows: Iterator[Row | SkippedRow]
    if kind == ".eval" and not packed:
        from refusal_clf.eval_logs import read_eval_log_rows  # it makes rows of this module

        rows = read_eval_log_rows(path)
    elif kind == ".parquet":
        rows = _parquet_rows(path, compressed=bool(packed))
    elif kind in {".csv", ".tsv"}:
        rows = _csv_rows(path, "\t" if kind == ".tsv" else ",")
    else:
        rows = _json_rows(path, whole_document=kind == ".json")
    first = next(rows, None)
    if first is None:
        raise InputError("no rows", file=name_of(path))
    yield from itertools.chain([first], rows)


def _json_rows(path: Path, *, whole_document: bool) -> Iterator[Row | SkippedRow]:
    name = name_of(path)
    head, chunks = peek(read_chunks(path), name)
    if _ARRAY_START.match(head):
        yield from _array_rows(chunks, name)
        return
    lines = split_lines(chunks, name)
    if whole_document and head:
        first = next(lines)
        lines = itertools.chain([first], lines)
        if isinstance(parse_line(1, first), SkippedRow):  # one indented object rather than JSON lines
            yield from _array_rows(itertools.chain([b"["], lines, [b"]"]), name)
            return
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield parse_line(number, line)


def parse_line(number: int, line: bytes) -> Row | SkippedRow:
    """Return what a line of a JSON lines file holds, or why it cannot be used."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return skipped(number, f"not valid UTF-8 (byte {error.start + 1})", line[:800].decode("utf-8", "replace"))
    try:
        value = parse_json(text.lstrip("\ufeff"))
    except json.JSONDecodeError as error:
        return skipped(number, f"not JSON ({error.msg}, column {error.colno})", text)
    except ValueError:  # a number of thousands of digits, a nesting of thousands of levels
        return skipped(number, "not JSON that can be read (nested too deeply or a number too long)", text)
    if not isinstance(value, dict):
        return skipped(number, f"not a JSON object but {kind_of(value)}", text)
    return Row(number, value, text)


def parse_json(text: str) -> Any:  # noqa: ANN401
    """Return what JSON text holds; whatever is wrong with it, thousands of levels included, is a `ValueError`."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def kind_of(value: object) -> str:
    """Name a JSON value's type as messages say it."""
    if value is None:
        return "null"
    names = ((bool, "a boolean"), ((int, float), "a number"), (str, "text"), (list, "a list"), (dict, "an object"))
    return next((name for types, name in names if isinstance(value, types)), f"a {type(value).__name__}")


def _array_rows(chunks: Iterable[bytes], name: str) -> Iterator[Row | SkippedRow]:
    for line, value, raw in array_items(chunks, name):
        is_object = isinstance(value, dict)
        yield Row(line, value, raw) if is_object else skipped(line, f"not an object but {kind_of(value)}", raw)


def _csv_rows(path: Path, delimiter: str) -> Iterator[Row | SkippedRow]:
    csv.field_size_limit(MAX_LINE_BYTES)  # the default of 128 KiB is less than a long response
    name = name_of(path)
    head, chunks = peek(read_chunks(path), name)
    first_line = head.split(b"\n", 1)[0]
    if delimiter == "," and b"," not in first_line:  # spreadsheets in many locales write semicolons
        delimiter = next((mark for mark in (";", "\t") if mark.encode() in first_line), ",")
    lines = _CountedLines(split_lines(chunks, name), delimiter, name)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        line = lines.begin()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield skipped(line, f"not readable as CSV ({error})", "")
            continue
        if cells is None:
            return
        raw = delimiter.join(cells)
        if not cells:
            continue
        if _UNDECODABLE.search(raw):
            yield skipped(line, "not valid UTF-8", _UNDECODABLE.sub("\ufffd", raw[:_RAW_CHARS]))
        elif header is None:
            header = [cell.strip() for cell in cells]
        elif len(cells) != len(header):
            yield skipped(line, f"{len(cells)} cells where the header has {len(header)}", raw)
        else:
            yield Row(line, dict(zip(header, cells, strict=True)), raw)


class _CountedLines:
    """The lines of a table as text; one that would make a row of more than `MAX_CELLS` cells is never cut into them."""

    def __init__(self, lines: Iterable[bytes], delimiter: str, name: str) -> None:
        self._lines, self._delimiter, self._name = iter(lines), delimiter, name
        self._number = self._cells = 0
        self._quoted = False

    def begin(self) -> int:
        """Take note that a row begins with the next line, and return that line's number."""
        self._cells, self._quoted = 0, False
        return self._number + 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines).decode("utf-8", "surrogateescape")
        self._number += 1
        self._cells += self._count(line)
        self._quoted = True  # a row goes on in the next line only within quotes
        if self._cells > MAX_CELLS:
            raise InputError(f"a row of more than {MAX_CELLS:,} cells", file=self._name, line=self._number)
        return line

    def _count(self, line: str) -> int:
        """Count the cells that end in a line; an estimate from above where there cannot be too many."""
        most = line.count(self._delimiter) + 1
        if self._cells + most <= MAX_CELLS:
            return most
        cells = position = 0
        quoted = self._quoted
        while cells <= MAX_CELLS and position <= len(line):
            if quoted or line.startswith('"', position):
                position = _closing_quote(line, position + (not quoted))
                quoted = False
            position = line.find(self._delimiter, position) + 1
            cells += 1
            if not position:
                break
        return cells


def _closing_quote(line: str, position: int) -> int:
    """Return the place behind the quote that ends a cell, the end of the line if it goes on; doubled ones are text."""
    while (position := line.find('"', position) + 1) and line.startswith('"', position):
        position += 1
    return position or len(line)


def _parquet_rows(path: Path, *, compressed: bool) -> Iterator[Row | SkippedRow]:
    name = name_of(path)
    try:
        import pyarrow as pa

        from refusal_clf.parquet_files import parquet_rows
    except ImportError as error:
        raise InputError("Parquet needs an extra: pip install 'refusal-clf[parquet]'", file=name) from error
    with tempfile.TemporaryFile() if compressed else path.open("rb") as stream:
        if compressed:  # a Parquet file is read from its end, and an archive from its start
            for chunk in read_chunks(path):
                stream.write(chunk)
                if stream.tell() > MAX_UNPACKED_BYTES:
                    limit = MAX_UNPACKED_BYTES // 2**20
                    raise InputError(f"unpacks to more than {limit:,} MB; unpack it, and give what it holds", file=name)
            stream.seek(0)
        try:
            for line, values in enumerate(parquet_rows(stream, name), start=1):
                yield Row(line, values, _beginning(values))
        except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"corrupt Parquet file ({reason})", file=name) from error


def _beginning(values: dict[str, Any]) -> str:
    """Show what a row begins with, without making a second copy of a long one."""
    first = itertools.islice(values.items(), _RAW_CHARS)
    shown = {name: value[:_RAW_CHARS] if isinstance(value, str | bytes) else value for name, value in first}
    return str(shown)[:_RAW_CHARS]
