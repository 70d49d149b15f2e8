"""What an ONNX file asks for, read before onnxruntime sees it: operator sets, operators' domains, data outside of it.

Only the outline is read, in protocol buffers' wire format (protobuf.dev/programming-guides/encoding) with the field
numbers of onnx.proto; the `onnx` package is no part of the base install, and would hold the weights a second time.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from refusal_clf.records import InputError

DOMAINS: Final = frozenset({"", "ai.onnx", "com.microsoft"})
"""Operators that onnxruntime itself brings."""
OPSETS: Final = range(13, 24)
"""Versions of ONNX's operators that graphs may use; the last is what onnxruntime 1.23, the oldest supported, knows."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# onnx.proto: message -> number of a field -> the message that it holds.
_HOLDS: Final = {
    "model": {7: "graph", 8: "operator set", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "operator set": {},
    "tensor": {},
}
_NODE_DOMAIN: Final = 7
_SET_DOMAIN, _SET_VERSION = 1, 2
_TENSOR_DIMS, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 13, 14


@dataclass(slots=True)
class _Outline:
    """What was found so far; `elements` is the largest number of elements that a stored tensor declares."""

    opsets: dict[str, int] = field(default_factory=dict)
    domains: set[str] = field(default_factory=set)
    functions: int = 0
    external: int = 0
    elements: int = 0


def check_graph(path: Path, opset: int | None) -> None:
    """Refuse a graph that needs anything but itself and onnxruntime.

    Parameters
    ----------
    path
        An ONNX file.
    opset
        The version of ONNX's operators that the model's configuration names; None if it names none.

    Raises
    ------
    InputError
        If the file is no ONNX model, uses operators that onnxruntime does not bring or another version of them,
        keeps weights outside of the file, or declares a tensor that the file is too small for.
    """
    outline = _Outline()
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            size = len(data)
            _read(data, 0, size, "model", outline)
    except (ValueError, IndexError, RecursionError) as error:
        raise InputError("is no ONNX model (damaged or cut off)", file=path) from error
    found = outline.opsets.get("", outline.opsets.get("ai.onnx"))
    unknown = sorted((outline.domains | outline.opsets.keys()) - DOMAINS)
    if found is None:
        raise InputError("is no ONNX model (it names no operator set)", file=path)
    if unknown:
        raise InputError(f"uses operators of '{unknown[0]}', which onnxruntime does not bring", file=path)
    if outline.functions:
        raise InputError("defines operators of its own", file=path)
    if found not in OPSETS:
        raise InputError(f"uses version {found} of ONNX's operators, not {OPSETS[0]} to {OPSETS[-1]}", file=path)
    if opset is not None and found != opset:
        raise InputError(f"uses version {found} of ONNX's operators where its configuration says {opset}", file=path)
    if outline.external:
        raise InputError("keeps weights outside of itself; a model is one file", file=path)
    if outline.elements > 2 * size:  # the smallest element has four bits
        raise InputError(f"declares a tensor of {outline.elements:,} elements in a file of {size:,} bytes", file=path)


def _read(data: mmap.mmap, start: int, end: int, kind: str, outline: _Outline) -> None:
    """Read one message and all that it holds."""
    dims: list[int] = []
    domain, version = "", 0
    for number, value in _fields(data, start, end):
        if isinstance(value, tuple):
            held = _HOLDS[kind].get(number)
            if held == "function":
                outline.functions += 1
            elif held is not None:
                _read(data, *value, held, outline)
            elif (kind, number) in {("node", _NODE_DOMAIN), ("operator set", _SET_DOMAIN)}:
                domain = data[value[0] : value[1]].decode("utf-8", "replace")
            elif (kind, number) == ("tensor", _TENSOR_DIMS):  # packed
                at = value[0]
                while at < value[1]:
                    dim, at = _varint(data, at, value[1])
                    dims.append(dim)
            elif (kind, number) == ("tensor", _TENSOR_EXTERNAL):
                outline.external += 1
        elif (kind, number) == ("tensor", _TENSOR_DIMS):
            dims.append(value)
        elif (kind, number) == ("tensor", _TENSOR_LOCATION):
            outline.external += value
        elif (kind, number) == ("operator set", _SET_VERSION):
            version = value
    if kind == "node":
        outline.domains.add(domain)
    elif kind == "operator set":
        outline.opsets[domain] = version
    elif kind == "tensor":
        outline.elements = max(outline.elements, math.prod(dims))


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int | tuple[int, int]]]:
    """Yield the fields of a message: number, and its value or where its bytes begin and end."""
    while at < end:
        key, at = _varint(data, at, end)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at, end)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at, end)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire}")
        if at + length > end:
            raise ValueError("a field ends outside of its message")
        if wire == _BYTES:
            yield number, (at, at + length)
        at += length


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number that does not end")
