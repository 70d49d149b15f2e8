"""A Ray job gives every row the verdict that a single process gives it, whatever happens to its workers."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from refusal_clf import RefusalClassifier
from refusal_clf.integrations import ray_data
from refusal_clf.integrations.batches import VERDICT_COLUMNS, BatchScorer
from refusal_clf.reading import read_completions
from refusal_clf.records import InputError

ray = pytest.importorskip("ray", reason="needs the extra `ray`")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module", autouse=True)
def local_ray():
    """Two processors, both held by the two workers of every job here: reading and writing must get by without."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Cut the few sample rows into several batches."""
    monkeypatch.setattr(ray_data, "_BATCH", 24)
    monkeypatch.setattr(ray_data, "_BLOCK_BYTES", 2**13)


@pytest.fixture(scope="module")
def rows(samples):
    return [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def expected(model_dir, samples, rows):
    """Return what a single process writes: each row with its verdict."""
    verdicts = [v.to_dict() for v in RefusalClassifier.load(model_dir).stream(read_completions(samples))]
    return [
        {**row, **{name: verdict[name] for name in VERDICT_COLUMNS}}
        for row, verdict in zip(rows, verdicts, strict=True)
    ]


def written(folder):
    return [
        json.loads(line) for part in sorted(folder.iterdir()) for line in part.read_text(encoding="utf-8").splitlines()
    ]


def mortal(scorer, diary):
    """Return a scorer whose first process to have judged two batches is killed before it can hand over the second."""

    class Mortal:  # defined here, so that it travels to the workers by value
        on_error, threads, check_free, fields_of = "fail", 1, scorer.check_free, scorer.fields_of

        def judge(self, rows, **where):
            verdicts = scorer.judge(rows, **where)
            with diary.open("a") as stream:
                stream.write(f"{os.getpid()} {rows[0].line}\n")
            killed = diary.with_suffix(".killed")
            if not killed.exists() and diary.read_text().split()[::2].count(str(os.getpid())) == 2:
                killed.write_text(f"{os.getpid()} {rows[0].line}")
                os.kill(os.getpid(), signal.SIGKILL)
            return verdicts

    return Mortal()


def test_a_killed_worker_costs_a_retry_and_no_row(model_dir, samples, expected, tmp_path):
    diary = tmp_path / "diary"
    scorer = mortal(BatchScorer.load(model_dir), diary)
    ray_data.score_files(samples, tmp_path / "out", scorer, workers=2, rows_per_file=50)
    killed, batch = diary.with_suffix(".killed").read_text().split()
    judged_by = [pid for pid, first in map(str.split, diary.read_text().splitlines()) if first == batch]
    assert judged_by[0] == killed
    assert len(judged_by) == 2
    assert judged_by[1] != killed
    assert len(list((tmp_path / "out").iterdir())) > 1
    assert written(tmp_path / "out") == expected


def test_parquet_files_of_a_folder_come_back_in_order_with_their_types(model_dir, rows, expected, tmp_path):
    table = pa.Table.from_pylist(rows)
    (tmp_path / "in").mkdir()
    parquet.write_table(table.slice(0, 100), tmp_path / "in" / "a.parquet")
    parquet.write_table(table.slice(100), tmp_path / "in" / "b.parquet")
    (tmp_path / "in" / "_SUCCESS").touch()
    ray_data.score_files(tmp_path / "in", tmp_path / "out", BatchScorer.load(model_dir), workers=2)
    scored = parquet.read_table(tmp_path / "out")
    assert scored.select(table.column_names).cast(table.schema) == table
    assert scored.to_pylist() == [{name: row.get(name) for name in scored.column_names} for row in expected]


def test_the_command_keeps_what_it_cannot_judge_and_every_field_as_it_was(tmp_path, monkeypatch):
    lines = ['{"response": "I can\'t.", "n": 1.50, "half": "\\ud83d"}', "not JSON", "", '{"response": 3}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    run(monkeypatch, tmp_path / "in.jsonl", tmp_path / "out", "--tier", "fast", "--on-error", "skip", "--workers", "1")
    first, second, third = written(tmp_path / "out")
    assert (first["n"], first["half"], first["refusal"]) == (1.5, "\ud83d", "full_refusal")
    assert {name: second[name] for name in ("line", "raw", "verdict")} == {
        "line": 2,
        "raw": "not JSON",
        "verdict": None,
    }
    assert third == {"response": 3, **dict.fromkeys(VERDICT_COLUMNS)}


def test_an_unusable_row_ends_the_command_with_its_file_and_line(tmp_path, monkeypatch, capfd):
    path = tmp_path / "in.jsonl"
    path.write_text('{"response": "Yes."}\n\n{"response": 3}\n', encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, path, tmp_path / "out", "--tier", "fast", "--workers", "1")
    assert stopped.value.code == 2
    message = f"refusal-clf: error: {path}:3: field 'response' is a number, not text"
    assert message in capfd.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds no files"),
        (["a.jsonl", "b.parquet"], "neither JSON lines"),
        (["a.csv"], "neither JSON lines"),
    ],
)
def test_a_folder_that_is_no_dataset_is_refused(model_dir, tmp_path, names, message):
    (tmp_path / "in").mkdir()
    for name in names:
        (tmp_path / "in" / name).touch()
    with pytest.raises(InputError, match=message):
        ray_data.score_files(tmp_path / "in", tmp_path / "out", BatchScorer.load(model_dir))
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_missing_is_refused(model_dir, tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        ray_data.score_files(tmp_path / "in.jsonl", tmp_path / "out", BatchScorer.load(model_dir))


def test_results_are_never_mixed_with_others(model_dir, samples, tmp_path):
    (tmp_path / "part.jsonl").touch()
    with pytest.raises(InputError, match="is there already"):
        ray_data.score_files(samples, tmp_path, BatchScorer.load(model_dir))


def run(monkeypatch, source: Path, out: Path, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["ray_data", str(source), str(out), *options])
    ray_data.main()
