"""Files that hold far more than they weigh: each is read, or refused in a line, in bounded memory (of a process)."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from refusal_clf.formats import MAX_CELLS, read_rows
from refusal_clf.json_arrays import array_items
from refusal_clf.records import InputError

MB = 2**20
READER = """
import re, sys
from pathlib import Path
from refusal_clf.formats import read_rows
from refusal_clf.records import InputError
rows, error = 0, ""
try:
    for _ in read_rows(Path(sys.argv[1])):
        rows += 1
except InputError as found:
    error = str(found)
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)
print(rows, int(peak) // 1024, error)
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read the peak memory from")


class Read(NamedTuple):
    rows: int
    megabytes: int
    error: str


def read(path: Path) -> Read:
    """Read a file in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=True, env=os.environ
    )
    rows, megabytes, error = done.stdout.rstrip("\n").split(" ", 2)
    return Read(int(rows), int(megabytes), error)


def packed(path: Path, parts: Iterable[bytes]) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for part in parts:
            stream.write(part)
    return path


@needs_proc
def test_a_parquet_file_that_repeats_a_long_text_needs_the_memory_of_a_few(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 600, pa.int32()), pa.array(["x" * (8 * MB)]))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"response": texts}), path, compression="zstd")
    assert path.stat().st_size < 4096
    found = read(path)  # at once it would be 4 GB
    assert (found.rows, found.error) == (600, "")
    assert found.megabytes < 1000


@needs_proc
def test_a_parquet_row_that_repeats_a_long_text_in_a_list_is_refused(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    turns = [["y"], ["x" * MB] * 1000]
    pq.write_table(pa.table({"response": ["r", "r"], "turns": turns}), path, compression="zstd")
    found = read(path)
    assert found.error == f"{path}:2: a row of more than 32 MB"
    assert found.megabytes < 500


@needs_proc
def test_a_parquet_page_that_unpacks_to_hundreds_of_megabytes_is_refused(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"response": ["x" * (300 * MB)]}), path, compression="zstd", use_dictionary=False)
    found = read(path)
    assert found.error == f"{path}: has pages of more than 256 MB; write it with smaller ones"
    assert found.megabytes < 300


def test_front_coded_texts_are_read_unless_a_list_could_hold_any_number_of_them(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    coded = {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"}
    pq.write_table(pa.table({"response": ["a", "ab"]}), tmp_path / "a.parquet", **coded)
    assert [row.values for row in read_rows(tmp_path / "a.parquet")] == [{"response": "a"}, {"response": "ab"}]
    pq.write_table(pa.table({"response": [["a"], ["ab"]]}), tmp_path / "b.parquet", **coded)
    with pytest.raises(InputError, match="lists of front-coded texts"):
        list(read_rows(tmp_path / "b.parquet"))


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_every_kind_of_column_comes_out_as_it_went_in(tmp_path: Path, version: str, compression: str) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [
        {
            "id": number,
            "response": f"r{number}" if number % 7 else None,
            "score": number / 3,
            "good": number % 2 == 0,
            "messages": [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": None}],
            "resps": [["a", f"b{number}"], []],
            "deep": {"texts": ["x"] * (number % 3), "one": {"two": "z"}},
        }
        for number in range(1500)
    ]
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.Table.from_pylist(rows),
        path,
        compression=compression,
        data_page_version=version,
        row_group_size=400,
        data_page_size=500,
    )
    assert [row.values for row in read_rows(path)] == rows
    assert [row.line for row in read_rows(path)] == list(range(1, 1501))


def test_a_parquet_file_whose_archive_unpacks_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("refusal_clf.formats.MAX_UNPACKED_BYTES", 3 * MB)
    path = packed(tmp_path / "a.parquet.gz", (bytes(MB) for _ in range(5)))
    with pytest.raises(InputError, match=r"unpacks to more than 3 MB; unpack it"):
        list(read_rows(path))


@needs_proc
def test_a_json_array_of_hundreds_of_megabytes_needs_the_memory_of_an_item(tmp_path: Path) -> None:
    item = json.dumps({"response": "x" * MB}).encode()
    path = packed(tmp_path / "a.json.gz", (b"[", item, *[b",\n" + item] * 299, b"]"))
    found = read(path)
    assert (found.rows, found.error) == (300, "")
    assert found.megabytes < 200


@needs_proc
@pytest.mark.parametrize(
    ("begin", "unit", "error"),
    [
        (b'[{"response": "', b"x" * MB, "1: not JSON, or an item of more than 32 MB (Unterminated string starting at)"),
        (b'[\n{"response": [', b"{}," * (MB // 3), "2: not JSON, or an item of more than 32 MB"),
        (b'{\n"response": "', b"x" * MB, "2: a line of more than 32 MB"),
    ],
)
def test_a_json_item_without_end_is_refused(tmp_path: Path, begin: bytes, unit: bytes, error: str) -> None:
    path = packed(tmp_path / "a.json.gz", (begin, *[unit] * 200))
    found = read(path)
    assert (found.rows, error in found.error) == (0, True), found.error
    assert found.megabytes < 2500


def test_items_are_the_same_wherever_the_file_is_cut() -> None:
    items = [{"a": "\u00e9\n", "b": [1, {"c": None}]}, 12, "x]", [], {"d": -1.5e3}]
    data = json.dumps(items, ensure_ascii=False, indent=1).encode()
    whole = list(array_items([data], "a"))
    assert [value for _, value, _ in whole] == items
    for size in range(1, 12):
        assert list(array_items([data[at : at + size] for at in range(0, len(data), size)], "a")) == whole


@needs_proc
def test_a_table_of_millions_of_cells_is_refused_before_it_is_cut(tmp_path: Path) -> None:
    header = b"response," + b",".join(b"c%d" % number for number in range(1_000_000))
    (tmp_path / "wide.csv").write_bytes(header + b"\nyes" + b"," * 1_000_000 + b"\n")
    found = read(tmp_path / "wide.csv")
    assert found.error == f"{tmp_path / 'wide.csv'}:1: a row of more than {MAX_CELLS:,} cells"
    assert found.megabytes < 200
    commas = packed(tmp_path / "commas.csv.gz", (b'response,b\n"",', *[b"," * MB] * 20))
    assert f":2: a row of more than {MAX_CELLS:,} cells" in (found := read(commas)).error
    assert found.megabytes < 300


def test_commas_in_quotes_are_no_cells(tmp_path: Path) -> None:
    flood = "," * (2 * MAX_CELLS)
    texts = [flood, f'a ""{flood}', f"{flood}\n{flood}", f'\n""{flood}""\n']
    path = tmp_path / "a.csv"
    path.write_text("id,response\n" + "".join(f'{at},"{text}"\n' for at, text in enumerate(texts)))
    assert [row.values["response"] for row in read_rows(path)] == [text.replace('""', '"') for text in texts]
    path.write_text(f'response,b\n"{flood}\nx",{flood}\n')
    with pytest.raises(InputError, match=r"a\.csv:3: a row of more than"):
        list(read_rows(path))
