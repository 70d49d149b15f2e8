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

from refusal_clf.records import InputError
from refusal_clf.streams import MAX_LINE_BYTES, check_readable, endings, name_of, peek, read_chunks, split_lines

MAX_DOCUMENT_BYTES: Final = 512 * 2**20
"""The largest JSON array that is read; it must be held in memory, unlike every other format."""

ENDINGS: Final = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""What the names of files of completions end in, but for .gz and .zst; any other ending is read as JSON lines."""

_PARQUET_BATCH: Final = 512
_RAW_CHARS: Final = 200
_SPACE: Final = re.compile(r"\s*")
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
    """Yield the rows of a file in order; the memory needed does not grow with the file, JSON arrays aside.

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
        yield from _array_rows(_document(chunks, name), name)
        return
    lines = split_lines(chunks, name)
    if whole_document and head:
        first = next(lines)
        lines = itertools.chain([first], lines)
        if isinstance(parse_line(1, first), SkippedRow):  # one indented object rather than JSON lines
            yield from _array_rows(f"[{_document(lines, name)}]", name)
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


def _document(chunks: Iterable[bytes], name: str) -> str:
    """Return a whole file as text, refusing one that would fill the memory."""
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > MAX_DOCUMENT_BYTES:
            limit = MAX_DOCUMENT_BYTES // 2**20
            raise InputError(f"a JSON array over {limit} MB; use JSON lines (one object a line)", file=name)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError("not valid UTF-8", file=name, line=line) from error


def _array_rows(text: str, name: str) -> Iterator[Row | SkippedRow]:
    """Yield the items of a JSON array with the lines that they begin on."""
    decoder, line, counted, separator = json.JSONDecoder(), 1, 0, "["

    def advance(position: int) -> int:
        nonlocal line, counted
        position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
        line, counted = line + text.count("\n", counted, position), position
        return position

    position = advance(0)
    while text[position : position + 1] == separator:
        position = advance(position + 1)
        if text[position : position + 1] == "]":
            break
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            at = line + text.count("\n", position, getattr(error, "pos", position))
            raise InputError(f"not JSON ({getattr(error, 'msg', error)})", file=name, line=at) from error
        raw = text[position : position + _RAW_CHARS]
        is_object = isinstance(value, dict)
        yield Row(line, value, raw) if is_object else skipped(line, f"not an object but {kind_of(value)}", raw)
        position, separator = advance(end), ","
    if text[position : position + 1] != "]" or text[position + 1 :].strip():
        raise InputError("not JSON (the array is not closed, or text follows it)", file=name, line=line)


def _csv_rows(path: Path, delimiter: str) -> Iterator[Row | SkippedRow]:
    csv.field_size_limit(MAX_LINE_BYTES)  # the default of 128 KiB is less than a long response
    name = name_of(path)
    head, chunks = peek(read_chunks(path), name)
    first_line = head.split(b"\n", 1)[0]
    if delimiter == "," and b"," not in first_line:  # spreadsheets in many locales write semicolons
        delimiter = next((mark for mark in (";", "\t") if mark.encode() in first_line), ",")
    texts = (line.decode("utf-8", "surrogateescape") for line in split_lines(chunks, name))
    reader = csv.reader(texts, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
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


def _parquet_rows(path: Path, *, compressed: bool) -> Iterator[Row | SkippedRow]:
    name = name_of(path)
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InputError("Parquet needs an extra: pip install 'refusal-clf[parquet]'", file=name) from error
    with tempfile.TemporaryFile() if compressed else path.open("rb") as stream:
        if compressed:  # a Parquet file is read from its end, and an archive from its start
            for chunk in read_chunks(path):
                stream.write(chunk)
            stream.seek(0)
        try:
            line = 0
            for batch in pq.ParquetFile(stream).iter_batches(batch_size=_PARQUET_BATCH):
                for values in batch.to_pylist():
                    line += 1
                    yield Row(line, values, str(values)[:_RAW_CHARS])
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"corrupt Parquet file ({reason})", file=name) from error
