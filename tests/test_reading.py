"""Files of every format become completions and labels, or one clear error."""

import csv
import gzip
import io
import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refusal_clf.reading import SkippedRow, read_completions
from refusal_clf.records import InputError
from refusal_clf.repeats import Repeats, SeenIds

any_folder = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
unicode_text = st.text(st.characters(exclude_categories=["Cs"]))
rows_of_text = st.lists(st.fixed_dictionaries({"prompt": unicode_text, "response": unicode_text}), min_size=1)


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def error_of(path: Path, **options) -> str:
    with pytest.raises(InputError) as caught:
        list(read_completions(path, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def contents(path: Path) -> list[dict[str, str]]:
    return [{"prompt": one.prompt, "response": one.response} for one in read_completions(path)]


class TestFormats:
    @any_folder
    @given(rows=rows_of_text, ending=st.sampled_from(["", ".gz", ".zst"]))
    def test_json_lines_come_back_unchanged(self, tmp_path, rows, ending):
        path = tmp_path / f"a.jsonl{ending}"
        data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        path.write_bytes(pack(data, ending))
        assert contents(path) == rows

    @any_folder
    @given(rows=rows_of_text, indent=st.sampled_from([None, 2]))
    def test_json_arrays_come_back_unchanged(self, tmp_path, rows, indent):
        path = tmp_path / "a.json"
        path.write_text(json.dumps(rows, ensure_ascii=False, indent=indent), encoding="utf-8", newline="")
        assert contents(path) == rows

    @any_folder
    @given(rows=rows_of_text, ending=st.sampled_from([".csv", ".tsv", ".csv.gz", ".tsv.zst"]))
    def test_tables_of_text_come_back_unchanged(self, tmp_path, rows, ending):
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, ["prompt", "response"], delimiter="\t" if "tsv" in ending else ",", quoting=1)
        table.writeheader()
        table.writerows(rows)
        path = tmp_path / f"a{ending}"
        path.write_bytes(pack(text.getvalue().encode(), path.suffix))
        assert contents(path) == rows

    @any_folder
    @given(rows=rows_of_text, ending=st.sampled_from(["", ".gz", ".zst"]))
    def test_parquet_comes_back_unchanged(self, tmp_path, rows, ending):
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        path = tmp_path / f"a.parquet{ending}"
        path.write_bytes(pack(sink.getvalue(), ending))
        assert contents(path) == rows

    def test_standard_input_is_json_lines(self, monkeypatch):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"response": "a"}\n{"response": "b"}')))
        assert [one.response for one in read_completions(Path("-"))] == ["a", "b"]

    def test_a_byte_order_mark_is_tolerated(self, tmp_path):
        for name, data in {
            "a.jsonl": b'{"response": "x"}',
            "a.csv": b"response\nx\n",
            "a.json": b'[{"response":"x"}]',
        }.items():
            (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + data)
            assert contents(tmp_path / name) == [{"prompt": "", "response": "x"}]

    def test_json_lines_in_a_json_file_and_an_array_in_a_jsonl_file_are_recognised(self, tmp_path):
        assert len(contents(lines(tmp_path / "a.json", {"response": "x"}, {"response": "y"}))) == 2
        assert len(contents(lines(tmp_path / "a.jsonl", [{"response": "x"}, {"response": "y"}]))) == 2

    def test_one_indented_object_is_a_json_file_of_one_row(self, tmp_path):
        (tmp_path / "a.json").write_text(json.dumps({"response": "x"}, indent=2))
        assert contents(tmp_path / "a.json") == [{"prompt": "", "response": "x"}]

    def test_semicolons_of_spreadsheets_are_recognised(self, tmp_path):
        (tmp_path / "a.csv").write_text("prompt;response\nhi;you, too\n")
        assert contents(tmp_path / "a.csv") == [{"prompt": "hi", "response": "you, too"}]

    def test_a_csv_cell_may_be_longer_than_the_modules_default(self, tmp_path):
        (tmp_path / "a.csv").write_text("response\n" + "x" * 300_000 + "\n")
        assert len(contents(tmp_path / "a.csv")[0]["response"]) == 300_000

    def test_concatenated_zstd_frames_are_read_to_the_end(self, tmp_path):
        frame = pack(b'{"response": "x"}\n', ".zst")
        (tmp_path / "a.jsonl.zst").write_bytes(frame + frame)
        assert len(contents(tmp_path / "a.jsonl.zst")) == 2


class TestErrors:
    def test_a_missing_response_names_what_was_found(self, tmp_path):
        path = lines(tmp_path / "a.jsonl", {"response": "r"}, {}, {"id": 1, "prompt": "p", "text2": "x"})
        path.write_text(path.read_text().replace("{}\n", "\n"))
        assert error_of(path) == f"{path}:3: no response field (found: id, prompt, text2)"

    def test_missing_files_and_directories_fail_at_the_call(self, tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_completions(tmp_path / "absent.jsonl")
        with pytest.raises(InputError, match="is a directory"):
            read_completions(tmp_path)

    @pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.jsonl.gz"])
    @pytest.mark.parametrize("data", [b"", b"\n \n"])
    def test_a_file_without_rows_is_an_error(self, tmp_path, name, data):
        path = tmp_path / name
        path.write_bytes(pack(data, path.suffix))
        assert error_of(path, on_error="skip") == f"{path}: no rows"

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (b'{"response": "x"', "not JSON"),
            (b"[1, 2]", "not a JSON object but a list"),
            (b'"x"', "not a JSON object but text"),
            (b'{"response": "\xff"}', "not valid UTF-8"),
            (b"[" * 100_000, "not JSON"),
            (b"9" * 5000, "not JSON"),
        ],
    )
    def test_a_bad_line_is_named_or_skipped(self, tmp_path, line, reason):
        path = tmp_path / "a.jsonl"
        path.write_bytes(b'{"response": "a"}\n' + line + b'\n{"response": "b"}\n')
        assert error_of(path).startswith(f"{path}:2: {reason}")
        rows: list[SkippedRow] = []
        got = list(read_completions(path, on_error="skip", skipped=rows.append))
        assert [one.response for one in got] == ["a", "b"]
        assert [(row.line, len(row.raw) <= 200) for row in rows] == [(2, True)]

    def test_a_file_of_bad_rows_alone_is_an_error_even_when_skipping(self, tmp_path):
        path = lines(tmp_path / "a.jsonl", {"id": 1}, {"id": 2})
        assert error_of(path, on_error="skip") == f"{path}: no usable row (2 skipped)"

    def test_repeated_ids_name_both_lines(self, tmp_path):
        path = lines(tmp_path / "a.jsonl", *({"id": name, "response": "r"} for name in ("a", 1, "1")))
        assert error_of(path).startswith(f"{path}:3: id '1' repeats line 2")

    @pytest.mark.parametrize("field", ["suite", "subset", "model"])
    def test_ids_repeat_across_suites_subsets_and_models(self, tmp_path, field):
        path = lines(tmp_path / "a.jsonl", *({"id": "a", "response": "r", field: name} for name in "xy"))
        assert len(contents(path)) == 2

    def test_repetitions_are_found_in_long_files(self, tmp_path):
        path = tmp_path / "a.jsonl"
        path.write_text("".join(f'{{"id": {n}, "response": ""}}\n' for n in [*range(70_000), 5]))
        assert error_of(path).startswith(f"{path}:70001: id '5' repeats line 6")

    def test_a_second_reading_knows_the_repetitions_of_the_first(self, tmp_path, monkeypatch):
        path = tmp_path / "a.json"
        one = [{"id": name, "response": name} for name in "abacb"]
        path.write_text(json.dumps([one[0], {"id": "d"}, *one[1:]]))  # on one line
        repeats = Repeats()

        def read() -> tuple[list[str | None], list[SkippedRow]]:
            rows: list[SkippedRow] = []
            read = read_completions(path, on_error="skip", skipped=rows.append, repeats=repeats)
            return [one.id for one in read], rows

        next(read_completions(path, repeats=repeats))
        assert not repeats.complete  # a reading that breaks off has found nothing
        first = read()
        assert first[0] == ["a", "b", "c"]
        assert [row.reason.partition(" (")[0] for row in first[1]][1:] == [
            "id 'a' repeats line 1",
            "id 'b' repeats line 1",
        ]
        monkeypatch.setattr("refusal_clf.repeats.SeenIds.add", None)
        assert read() == first

    @pytest.mark.parametrize("cut", [0.4, 0.9])
    @pytest.mark.parametrize("ending", [".gz", ".zst"])
    def test_a_damaged_archive_is_one_error(self, tmp_path, ending, cut):
        path = tmp_path / f"a.jsonl{ending}"
        data = pack("".join(f'{{"id": {n}, "response": "{n**9}"}}\n' for n in range(500)).encode(), ending)
        path.write_bytes(data[: int(len(data) * cut)])
        assert f"corrupt {ending} file" in error_of(path, on_error="skip")
        path.write_bytes(b"plain text")
        assert f"corrupt {ending} file" in error_of(path)

    def test_damaged_parquet_is_one_error(self, tmp_path):
        pytest.importorskip("pyarrow")
        (tmp_path / "a.parquet").write_bytes(b"PAR1 and then nothing of use")
        assert "corrupt Parquet file" in error_of(tmp_path / "a.parquet")

    @pytest.mark.parametrize(
        ("module", "name", "extra"), [("pyarrow", "a.parquet", "parquet"), ("zstandard", "a.jsonl.zst", "zstd")]
    )
    def test_a_missing_extra_is_named(self, tmp_path, monkeypatch, module, name, extra):
        (tmp_path / name).write_bytes(b"x")
        monkeypatch.setitem(sys.modules, module, None)
        assert f"pip install 'refusal-clf[{extra}]'" in error_of(tmp_path / name)

    def test_a_table_without_a_response_column_fails_at_once(self, tmp_path):
        path = tmp_path / "a.csv"
        path.write_text("id,prompt\n1,p\n")
        assert error_of(path, on_error="skip") == f"{path}:1: no response field (found: id, prompt)"

    def test_a_ragged_csv_row_is_named_by_its_first_line(self, tmp_path):
        path = tmp_path / "a.csv"
        path.write_text('prompt,response\n"two\nlines",r\np\n')
        assert error_of(path) == f"{path}:4: 1 cells where the header has 2"

    def test_an_array_that_breaks_off_names_the_line(self, tmp_path):
        path = tmp_path / "a.json"
        path.write_text('[\n{"response": "x"},\n{"response": \n')
        assert error_of(path).startswith(f"{path}:4: not JSON")

    @given(
        data=st.binary(max_size=200),
        name=st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"]),
    )
    @any_folder
    def test_bytes_of_any_kind_are_read_or_refused_in_one_line(self, tmp_path, data, name):
        (tmp_path / name).write_bytes(data)
        refusal = ""
        try:
            list(read_completions(tmp_path / name, on_error="skip"))
        except InputError as error:
            refusal = str(error)
        assert "\n" not in refusal


def pack(data: bytes, ending: str) -> bytes:
    if ending == ".gz":
        return gzip.compress(data)
    if ending == ".zst":
        return pytest.importorskip("zstandard").ZstdCompressor().compress(data)
    return data


@given(ids=st.lists(st.integers(0, 300).map(str), max_size=400))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_repeated_id_names_its_first_line_however_many_came_between(ids, monkeypatch):
    monkeypatch.setattr("refusal_clf.repeats._RECENT", 3)
    seen, expected = SeenIds(), {}
    for line, key in enumerate(ids, start=1):
        assert seen.add((key,), line) == expected.get(key)
        expected.setdefault(key, line)
    sizes = [len(hashes) for hashes, _ in seen._runs]
    assert sum(sizes) == len(expected) - len(expected) % 3
    assert all(sizes.count(size) < 4 for size in sizes)
