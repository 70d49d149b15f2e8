"""Files -> bytes and lines: standard input, compression, byte order marks, and the errors of opening."""

from __future__ import annotations

import gzip
import itertools
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from refusal_clf.records import InputError

STDIN: Final = "-"

MAX_LINE_BYTES: Final = 32 * 2**20
"""The longest line, and the longest cell of a table, that is read: an archive of a few kilobytes can hold gigabytes."""

_CHUNK: Final = 2**20
# zstd can expand its input ten-thousandfold, so that this bounds what one step unpacks.
_ZSTD_CHUNK: Final = 2**14
_BOM: Final = b"\xef\xbb\xbf"


def name_of(path: Path) -> str:
    """Return a path as error messages show it."""
    return "<stdin>" if str(path) == STDIN else str(path)


def stem_of(path: Path) -> str:
    """Return a file's name without the endings of its format and compression."""
    if str(path) == STDIN:
        return "stdin"
    _, suffix, packed = endings(path)
    return path.name[: len(path.name) - len(suffix) - len(packed)]


def check_readable(path: Path) -> None:
    """Raise `InputError` unless the path is standard input or an existing file."""
    if str(path) == STDIN:
        return
    if path.is_dir():
        raise InputError("is a directory, not a file", file=path)
    if not path.exists():
        raise InputError("no such file", file=path)


def endings(path: Path) -> tuple[str, str, str]:
    """Split a name into stem, format ending and compression ending, the last two with their dots or empty."""
    packed = path.suffix if path.suffix.lower() in {".gz", ".gzip", ".zst", ".zstd"} else ""
    rest = Path(path.name[: len(path.name) - len(packed)])
    return rest.stem, rest.suffix, packed


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes, unpacked."""
    name, packed = name_of(path), endings(path)[2].lower()
    try:
        if str(path) == STDIN:
            yield from _drain(sys.stdin.buffer)
        elif packed in {".gz", ".gzip"}:
            with gzip.open(path) as stream:
                yield from _drain(stream)
        else:
            with path.open("rb") as stream:
                yield from _unzstd(stream, name) if packed else _drain(stream)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"corrupt {packed} file ({error})", file=name) from error
    except OSError as error:
        raise InputError(error.strerror or str(error), file=name) from error


def _drain(stream: Any) -> Iterator[bytes]:  # noqa: ANN401
    # read1 hands over what a pipe holds, where read would wait for a full chunk.
    while data := stream.read1(_CHUNK):
        yield data


def _unzstd(stream: IO[bytes], name: str) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError as error:
        raise InputError(".zst needs an extra: pip install 'refusal-clf[zstd]'", file=name) from error
    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        while data := stream.read(_ZSTD_CHUNK):
            while data:
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                yield frame.decompress(data)
                data = frame.unused_data if frame.eof else b""
    except zstandard.ZstdError as error:
        raise InputError(f"corrupt .zst file ({error})", file=name) from error
    if not frame.eof and stream.tell():
        raise EOFError("it ends early")


def split_lines(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Cut chunks into lines at line feeds only: JSON strings may hold every other line separator.

    Raises
    ------
    InputError
        At a line of more than `MAX_LINE_BYTES`; `name` is what the file is called there.
    """
    pending: list[bytes] = []
    size = count = 0
    for chunk in chunks:
        head, newline, rest = chunk.partition(b"\n")
        pending.append(head + newline)
        size += len(head)
        if size > MAX_LINE_BYTES:
            raise InputError(f"a line of more than {MAX_LINE_BYTES // 2**20} MB", file=name, line=count + 1)
        if not newline:
            continue
        size, count = len(rest) - rest.rfind(b"\n") - 1, count + chunk.count(b"\n")
        yield b"".join(pending)
        *complete, tail = rest.split(b"\n")
        for line in complete:
            yield line + b"\n"
        pending = [tail]
    if last := b"".join(pending):
        yield last


def peek(chunks: Iterator[bytes], name: str) -> tuple[bytes, Iterator[bytes]]:
    """Return the first bytes that are not white space, and all chunks without a byte order mark."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head.strip()) > 1:
            break
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError("is UTF-16; save it as UTF-8", file=name, line=1)
    head = head.removeprefix(_BOM)
    return head.lstrip(), itertools.chain([head], chunks)
