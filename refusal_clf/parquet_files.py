"""Parquet files -> rows, in the memory of a batch whose size follows from what the file's pages can hold.

A file of kilobytes can hold one text a million times. Arrow unpacks what it is told to, so the headers of the pages
are read first: no value is larger than the largest page of its column, and a batch has as many rows as such values fit
into `BATCH_BYTES`. Texts in lists, of which a row may hold any number, stay codes of a dictionary until their sizes are
known.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import IO, TYPE_CHECKING, Any, Final

from refusal_clf.records import InputError
from refusal_clf.streams import MAX_LINE_BYTES

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BATCH_BYTES: Final = 256 * 2**20
"""The most that the largest pages of all columns may hold together, and the most that a batch may."""
MAX_ELEMENTS: Final = 2**26
"""The most elements of one column's lists in a row group."""

_BATCH_ROWS: Final = 512
_BATCH_CELLS: Final = 2**18
_WHOLE: Final = 2**24
_FRONT_CODED: Final = 7  # DELTA_BYTE_ARRAY
# Numbers of Thrift's compact protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
_BOOLEANS, _INTEGERS = {1, 2}, {4, 5, 6}
_BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 3, 7, 8, 9, 10, 12
_MOST_LEVELS: Final = 16


def parquet_rows(stream: IO[bytes], name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file.

    Columns of lists of anything but texts are left out.

    Parameters
    ----------
    stream
        The file; it must be possible to seek in it.
    name
        What it is called in errors.

    Raises
    ------
    InputError
        If a page, a row or a list is too large. Whatever else is wrong is an error of Arrow, or `EOFError`.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(stream)
    columns = [file.metadata.schema.column(index) for index in range(file.metadata.num_columns)]
    texts = {column.path for column in columns if column.max_repetition_level and column.physical_type == "BYTE_ARRAY"}
    wanted = [column.path for column in columns if not column.max_repetition_level or column.path in texts]
    file = pq.ParquetFile(stream, read_dictionary=sorted(texts), pre_buffer=False)
    numbers = count(1)
    for group in range(file.num_row_groups):
        rows = _rows_at_once(stream, file.metadata.row_group(group), set(wanted), texts, name)
        for batch in file.iter_batches(batch_size=rows, row_groups=[group], columns=wanted, use_threads=False):
            yield from _values(batch, numbers, name)


def _rows_at_once(stream: IO[bytes], group: pq.RowGroupMetaData, wanted: set[str], texts: set[str], name: str) -> int:
    """Return how many rows of a row group may be read together."""
    total = 0
    for index in range(group.num_columns):
        column = group.column(index)
        if column.path_in_schema not in wanted:
            continue
        largest = elements = 0
        for size, n_values, encoding in _pages(stream, column):
            largest, elements = max(largest, size), elements + n_values
            if column.path_in_schema in texts and encoding == _FRONT_CODED:
                raise InputError("holds lists of front-coded texts (DELTA_BYTE_ARRAY), which are not read", file=name)
        if column.path_in_schema in texts and elements > MAX_ELEMENTS:
            raise InputError(f"holds lists of more than {MAX_ELEMENTS:,} texts in a row group", file=name)
        total += largest
    if total > BATCH_BYTES:
        raise InputError(f"has pages of more than {BATCH_BYTES // 2**20} MB; write it with smaller ones", file=name)
    return max(1, min(_BATCH_ROWS, _BATCH_CELLS // max(1, len(wanted)), BATCH_BYTES // max(1, total)))


def _pages(stream: IO[bytes], column: pq.ColumnChunkMetaData) -> Iterator[tuple[int, int, int]]:
    """Yield each page's unpacked size in bytes, number of values and encoding."""
    start = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
        start = column.dictionary_page_offset
    position, end = start, start + column.total_compressed_size
    while position < end:
        stream.seek(position)
        header = _struct(stream, 0)
        size, packed = header.get(2, 0), header.get(3, 0)
        if not isinstance(size, int) or not isinstance(packed, int) or size < 0 or packed < 0:
            raise EOFError("a page without a size")
        plain, second = header.get(5, {}), header.get(8, {})
        if isinstance(plain, dict) and isinstance(second, dict):
            n_values, encoding = plain.get(1, 0) or second.get(1, 0), plain.get(2, 0) or second.get(4, 0)
            if isinstance(n_values, int) and isinstance(encoding, int):
                yield size, max(0, n_values), encoding
        position = stream.tell() + packed


def _struct(stream: IO[bytes], level: int) -> dict[int, Any]:
    """Return the integers and structures of a Thrift structure by their numbers; the rest is passed over."""
    if level > _MOST_LEVELS:
        raise EOFError("a page header that is nested too deeply")
    found: dict[int, Any] = {}
    number = 0
    while kind := (head := _byte(stream)) & 15:
        number = number + (head >> 4) if head >> 4 else _zigzag(stream)
        if kind not in _BOOLEANS:
            found[number] = _value(stream, kind, level)
    return found


def _value(stream: IO[bytes], kind: int, level: int) -> Any:  # noqa: ANN401
    if kind in _INTEGERS:
        return _zigzag(stream)
    if kind == _STRUCT:
        return _struct(stream, level + 1)
    if kind == _BINARY:
        stream.seek(_varint(stream), 1)
    elif kind in (_LIST, _SET):
        head = _byte(stream)
        for _ in range(head >> 4 if head >> 4 < 15 else _varint(stream)):
            _value(stream, _BYTE if head & 15 in _BOOLEANS else head & 15, level + 1)
    elif kind in (_BYTE, _DOUBLE):
        stream.seek(1 if kind == _BYTE else 8, 1)
    else:
        raise EOFError("a page header that cannot be read")
    return None


def _byte(stream: IO[bytes]) -> int:
    if not (data := stream.read(1)):
        raise EOFError("a page header is cut off")
    return data[0]


def _varint(stream: IO[bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = _byte(stream)
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise EOFError("a page header that cannot be read")


def _zigzag(stream: IO[bytes]) -> int:
    value = _varint(stream)
    return (value >> 1) ^ -(value & 1)


def _values(batch: pa.RecordBatch, numbers: Iterator[int], name: str) -> Iterator[dict[str, Any]]:
    """Yield a batch's rows as Python values, large ones one at a time."""
    if sum(map(_size, batch.columns)) <= _WHOLE:
        for values in batch.to_pylist():
            next(numbers)
            yield values
        return
    for place in range(batch.num_rows):
        row, number = batch.slice(place, 1), next(numbers)
        if sum(map(_size, row.columns)) > MAX_LINE_BYTES:
            raise InputError(f"a row of more than {MAX_LINE_BYTES // 2**20} MB", file=name, line=number)
        yield row.to_pylist()[0]


def _size(array: pa.Array) -> int:
    """Return the bytes of an array's values, those of a dictionary as often as they occur."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_dictionary(kind):
        sizes = pc.binary_length(array.dictionary)
        return int(pc.sum(pc.take(sizes, array.indices).cast(pa.int64())).as_py() or 0) + 8 * len(array)
    if pa.types.is_struct(kind):
        return sum(map(_size, array.flatten())) + 8 * len(array)
    if any(is_kind(kind) for is_kind in (pa.types.is_list, pa.types.is_large_list, pa.types.is_map)):
        return _size(array.flatten()) + 8 * len(array)
    return int(array.nbytes)
