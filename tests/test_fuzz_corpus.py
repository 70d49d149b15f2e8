"""Inputs that were hostile once: none crashes, none takes long. `benchmarks/fuzz.py` looks for more."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import fuzz_targets
import fuzz_writers
import pytest
from fuzz_reports import KINDS
from hypothesis import example, given
from hypothesis import strategies as st

from refusal_clf.formats import read_rows
from refusal_clf.records import Completion, InputError
from refusal_clf.streams import split_lines
from refusal_clf.text import normalise, prepare, strip_artifacts

CORPUS = Path(__file__).parent / "fuzz_corpus"
INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())
NEEDS = {"parquet": "pyarrow", "zstd": "zstandard", "batch_results": "openai"}


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_kept_input_is_read_or_refused_in_time(path: Path) -> None:
    if path.parent.name in NEEDS:
        pytest.importorskip(NEEDS[path.parent.name])
    started = time.process_time()
    fuzz_targets.run(path.parent.name, path.read_bytes())
    assert time.process_time() - started < fuzz_targets.SECONDS / 2


def seeds(*targets: str) -> list[Path]:
    return [path for path in INPUTS if path.parent.name in targets]


@pytest.mark.parametrize("path", seeds("text"), ids=lambda path: path.name)
def test_a_kept_text_is_prepared_at_its_longest_too(path: Path) -> None:
    fuzz_targets.run("long_text", path.read_bytes())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", seeds("pages", "terminal"), ids=lambda path: path.name)
def test_no_string_changes_the_shape_of_a_page_or_reaches_a_terminal(path: Path, kind: str) -> None:
    data = path.read_bytes()
    fuzz_writers.check_page(kind, data)
    for piped in (True, False):
        fuzz_writers.check_terminal(kind, data, piped=piped)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", seeds("pages"), ids=lambda path: path.name)
def test_a_browsers_parser_sees_the_same_page(path: Path, kind: str) -> None:
    html5lib = pytest.importorskip("html5lib")
    hostile, plain, _ = fuzz_writers.both(path.read_bytes())
    trees = [
        html5lib.parse(reports.page(kind).encode("utf-8", "replace"), transport_encoding="utf-8")
        for reports in (hostile, plain)
    ]
    shapes = [
        Counter((node.tag, *sorted(node.attrib)) for node in tree.iter() if node.get("class") != "ctl")
        for tree in trees
    ]
    assert shapes[0] == shapes[1]


def test_a_string_that_became_markup_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refusal_clf.report.markup.escape", lambda text: text)
    with pytest.raises(AssertionError):
        fuzz_writers.check_page("score", b"<b>\x01<i>")


def test_every_target_has_inputs_and_every_input_a_target() -> None:
    assert {path.parent.name for path in INPUTS} == set(fuzz_targets.TARGETS)


@given(st.lists(st.sampled_from(["<<SYS>>", "<</SYS>>", "a", " b ", "<", "x" * 7000]), max_size=30))
@example(["<<SYS>>", "x" * 20_000, "<</SYS>>"])
@example(["<<SYS>>", "x" * 20_001, "<</SYS>>"])
@example(["<<SYS>>", "x" * 20_001, "<<SYS>>", "<</SYS>>"])
def test_system_blocks_go_as_the_pattern_says(parts: list[str]) -> None:
    import re

    from refusal_clf.text import _without_system_blocks

    text = "".join(parts)
    assert _without_system_blocks(text) == re.sub(r"(?s)<<SYS>>.{0,20000}?<</SYS>>", " ", text)


def test_a_letter_keeps_thirty_marks_and_no_more() -> None:
    assert len(normalise("q" + "\u0301" * 30)) == 31
    assert len(normalise("q" + "\u0301" * 5000)) == 31


def test_a_header_that_never_ends_is_left_alone_and_one_that_ends_is_removed() -> None:
    spaces = " " * 300
    assert strip_artifacts(f"<|start_header_id|>{spaces}assistant{spaces}<|end_header_id|>yes") == (" yes", True)
    assert "end_header" in strip_artifacts(f"<|start_header_id|>{'x' * 21}<|end_header_id|" + spaces)[0]


def test_a_line_as_long_as_an_archive_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refusal_clf.streams.MAX_LINE_BYTES", 10)
    assert list(split_lines([b"0123456789\n01234", b"56789\n0\n"], "a")) == [b"0123456789\n", b"0123456789\n", b"0\n"]
    with pytest.raises(InputError, match="a:3: a line of more than"):
        list(split_lines([b"0\n1\n01234", b"567890", b"\n"], "a"))


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_an_archive_of_one_endless_line_is_refused_before_it_fills_the_memory(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    zstandard = pytest.importorskip("zstandard")
    monkeypatch.setattr("refusal_clf.streams.MAX_LINE_BYTES", 2**20)
    bomb = b'{"response": "' + b"a" * (8 * 2**20)
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(gzip.compress(bomb) if ending == ".gz" else zstandard.ZstdCompressor().compress(bomb))
    with pytest.raises(InputError, match=r"a\.jsonl.*:1: a line of more than 1 MB"):
        list(read_rows(path))


def test_a_response_of_fifty_megabytes_is_prepared_in_a_second() -> None:
    started = time.process_time()
    prepare(Completion(response="I can't. " * 6_000_000))
    assert time.process_time() - started < 1


@pytest.mark.parametrize("columns", [100_000])
def test_a_table_of_very_many_columns_is_read(tmp_path: Path, columns: int) -> None:
    names = ",".join(f"c{number}" for number in range(columns))
    path = tmp_path / "a.csv"
    path.write_text(f"response,{names}\nyes{',' * columns}\n", encoding="utf-8")
    [row] = read_rows(path)
    assert len(row.values) == columns + 1
