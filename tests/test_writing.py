"""A results folder holds one run, survives interruption, and reads back as it was written."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refusal_clf.ratings import CoconotRow
from refusal_clf.reading import SkippedRow
from refusal_clf.records import FLAGS, REFUSAL_CLASSES, VERDICTS, InputError, Verdict
from refusal_clf.writing import (
    RESULT_FILES,
    VerdictWriter,
    open_run_dir,
    read_verdicts,
    write_coconot_tsv,
    write_json,
    write_jsonl,
    write_skipped,
    write_summary,
)

RUN = {"input": "a.jsonl", "model_sha256": "abc"}
names = st.none() | st.text(st.characters(exclude_categories=["Cs"]))
shares = st.none() | st.floats(0, 1)
verdicts = st.builds(
    Verdict, names, st.just("coconot"), names, names, names, names, st.sampled_from(VERDICTS), shares,
    st.none() | st.sampled_from(REFUSAL_CLASSES), shares, st.sampled_from(["fast", "full", "rule"]),
    st.lists(st.sampled_from(sorted(FLAGS))).map(tuple),
)  # fmt: skip


def verdict(name: str) -> Verdict:
    return Verdict(name, "generic", None, None, None, None, "compliance", 0.25, "full_compliance", 0.125, "fast")


def run_of(tmp_path, *ids, **options):
    folder = open_run_dir(tmp_path / "out", run=RUN, **options)
    with VerdictWriter(folder.path, resume=folder.done > 0) as writer:
        writer.write(map(verdict, ids))
    return folder


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def ids_in(tmp_path):
    return [one.id for one in read_verdicts(tmp_path / "out")]


class TestVerdicts:
    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(written=st.lists(verdicts, min_size=1, max_size=5))
    def test_verdicts_come_back_unchanged(self, tmp_path, written):
        with VerdictWriter(tmp_path, resume=False) as writer:
            writer.write(written)
        assert list(read_verdicts(tmp_path / "verdicts.jsonl")) == written

    def test_a_batch_is_on_disk_before_the_next_one(self, tmp_path):
        with VerdictWriter(tmp_path, resume=False) as writer:
            writer.write([verdict("a"), verdict("b")])
            assert len(list(read_verdicts(tmp_path))) == 2

    def test_fields_stand_in_the_documented_order(self, tmp_path):
        run_of(tmp_path, "a")
        row = json.loads((tmp_path / "out" / "verdicts.jsonl").read_text())
        assert " ".join(row) == (
            "id suite subset category subcategory model verdict p_noncompliance refusal p_refusal tier flags"
        )

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("verdict", "yes"),
            ("verdict", None),
            ("p_refusal", 1.5),
            ("tier", ""),
            ("flags", "empty"),
            ("id", 3),
            ("refusal", "no"),
        ],
    )
    def test_a_damaged_verdict_is_named(self, tmp_path, field, value):
        path = tmp_path / "v.jsonl"
        write_jsonl(path, [verdict("a").to_dict(), verdict("b").to_dict() | {field: value}])
        with pytest.raises(InputError, match=f":2: field '{field}'"):
            list(read_verdicts(path))


class TestRunDir:
    @pytest.mark.parametrize("name", ["verdicts.jsonl", "summary.json"])
    def test_results_are_never_overwritten_by_accident(self, tmp_path, name):
        (tmp_path / name).write_text("kept")
        with pytest.raises(InputError, match="--overwrite or --resume"):
            open_run_dir(tmp_path)
        assert (tmp_path / name).read_text() == "kept"

    def test_a_folder_of_other_things_may_be_used(self, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        assert open_run_dir(tmp_path).done == 0

    def test_overwrite_removes_result_files_and_nothing_else(self, tmp_path):
        for name in (*RESULT_FILES, "notes.txt"):
            (tmp_path / name).write_text("x")
        open_run_dir(tmp_path, overwrite=True)
        assert files_in(tmp_path) == ["notes.txt", "run.json"]

    def test_resume_goes_on_after_the_last_line(self, tmp_path):
        run_of(tmp_path, "a", "b")
        assert run_of(tmp_path, "c", resume=True).done == 2
        assert ids_in(tmp_path) == ["a", "b", "c"]

    @pytest.mark.parametrize("partial", ['{"id": "b"', "{", '{"id": "é"'])
    def test_resume_drops_a_partial_line(self, tmp_path, partial):
        run_of(tmp_path, "a")
        with (tmp_path / "out" / "verdicts.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(partial)
        assert run_of(tmp_path, "b", resume=True).done == 1
        assert ids_in(tmp_path) == ["a", "b"]

    def test_a_run_that_wrote_only_a_partial_line_starts_again(self, tmp_path):
        run_of(tmp_path)
        (tmp_path / "out" / "verdicts.jsonl").write_text("{")
        assert run_of(tmp_path, "a", resume=True).done == 0
        assert ids_in(tmp_path) == ["a"]

    def test_resume_without_results_starts_afresh(self, tmp_path):
        assert open_run_dir(tmp_path / "new", resume=True).done == 0

    @pytest.mark.parametrize("key", ["input", "model_sha256"])
    def test_another_run_is_not_resumed(self, tmp_path, key):
        run_of(tmp_path, "a")
        with pytest.raises(InputError, match=f'{key} was ".*" and is "other"; give --overwrite'):
            open_run_dir(tmp_path / "out", resume=True, run=RUN | {key: "other"})

    def test_a_run_without_its_description_is_not_resumed(self, tmp_path):
        (tmp_path / "verdicts.jsonl").write_text("")
        with pytest.raises(InputError, match=r"run\.json is missing"):
            open_run_dir(tmp_path, resume=True)

    def test_a_file_in_the_way_is_one_line(self, tmp_path):
        (tmp_path / "out").write_text("")
        with pytest.raises(InputError, match="cannot make this folder"):
            open_run_dir(tmp_path / "out")

    def test_both_options_are_refused(self, tmp_path):
        with pytest.raises(InputError, match="exclude each other"):
            open_run_dir(tmp_path, overwrite=True, resume=True)


class TestDocuments:
    def test_a_failed_write_leaves_the_old_file_and_no_other(self, tmp_path):
        write_summary(tmp_path, {"n": 1})
        with pytest.raises(ValueError, match="JSON"):
            write_summary(tmp_path, {"n": float("nan")})

        def rows():
            yield {"a": 1}
            raise RuntimeError

        with pytest.raises(RuntimeError):
            write_jsonl(tmp_path / "rows.jsonl", rows())
        assert files_in(tmp_path) == ["summary.json"]
        assert json.loads((tmp_path / "summary.json").read_text()) == {"n": 1}

    def test_files_are_readable_by_others_as_the_umask_allows(self, tmp_path):
        write_json(tmp_path / "a.json", {})
        (tmp_path / "plain").write_text("")
        assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode

    def test_skipped_rows_are_json_lines(self, tmp_path):
        path = write_skipped(tmp_path, [SkippedRow(3, "not JSON", "{oops")])
        assert json.loads(path.read_text()) == {"line": 3, "reason": "not JSON", "raw": "{oops"}

    def test_coconots_table_has_every_digit(self, tmp_path):
        write_coconot_tsv(tmp_path / "t.tsv", [CoconotRow("underspecified", 100 / 3, 0.0, 200 / 3, 2 / 3)])
        assert (tmp_path / "t.tsv").read_text() == (
            "Category\tfull_compliance\tpartial_refusal\tfull_refusal\taverage_score\n"
            "underspecified\t33.333333333333336\t0.0\t66.66666666666667\t0.6666666666666666\n"
        )

    @given(name=st.text(st.characters(exclude_categories=["Cs"])))
    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_no_name_breaks_the_table_or_becomes_a_formula(self, tmp_path, name):
        write_coconot_tsv(tmp_path / "t.tsv", [CoconotRow(name, 0, 0, 0, 0)])
        _, row, end = (tmp_path / "t.tsv").read_text(encoding="utf-8").split("\n")
        assert row.count("\t") == 4
        assert end == ""
        assert not row.startswith(("=", "+", "-", "@"))
