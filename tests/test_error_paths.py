"""What is unusable is named in one line, wherever it is found: the errors that no test of a command meets."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from cli_harness import ROWS, assert_one_error, needs_model, run, write_rows

from refusal_clf.baseline import read_run
from refusal_clf.calibration.refitting import FOLDS, _numbered
from refusal_clf.calibration.sampling import draw
from refusal_clf.formats import read_rows
from refusal_clf.judge.rubric import load_rubric
from refusal_clf.locking import LOCK_FILE, locked
from refusal_clf.records import InputError
from refusal_clf.training.card import read_evaluation
from refusal_clf.training.dataset import label_files


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("file", "content", "pattern"),
    [
        ("summary.json", "{", r"summary\.json: is damaged \("),
        ("summary.json", "[]", r"summary\.json: is damaged \(no JSON object\)"),
        ("run.json", "[" * 50_000, r"run\.json: is damaged \(it is nested too deeply\)"),
        ("verdicts.jsonl", '{"verdict": "maybe"}\n', r"verdicts\.jsonl:1: field 'verdict'"),
        ("verdicts.jsonl", '{"flags": "empty"}\n', r"verdicts\.jsonl:1: field 'flags' is not a list of names"),
        ("verdicts.jsonl", "{}\nnonsense\n", r"verdicts\.jsonl:1: "),
    ],
)
def test_a_damaged_results_folder_names_the_file(tmp_path: Path, file: str, content: str, pattern: str) -> None:
    for name in ("verdicts.jsonl", "summary.json", "run.json"):
        write(tmp_path / name, "{}" if name.endswith("n") else "")
    write(tmp_path / file, content)
    with pytest.raises(InputError, match=pattern):
        read_run(tmp_path)


def test_a_finished_run_whose_model_is_not_told_is_read(tmp_path: Path) -> None:
    write(tmp_path / "verdicts.jsonl", '{"verdict": "neither", "tier": "rule", "flags": ["empty"]}\n')
    write(tmp_path / "summary.json", '{"model": "m"}')
    found = read_run(tmp_path)
    assert (len(found.items), found.sha256, found.tier) == (1, None, None)


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        ('{"a": {"noncompliance": "x", "compliance": "y"}, "A": {"noncompliance": "z", "compliance": "y"}}', "twice"),
        ('[{"noncompliance": "x", "compliance": "y"}]', "a description without a subcategory"),
        ('{"a": {"noncompliance": "x"}}', "'a' has no text for compliance"),
        ('{"a": {"compliance": "x"}}', "'a' has no text for noncompliance"),
        (b"\xff", r"not valid UTF-8 \(byte 1\)"),
        ('{"name": "a"}\n\nnonsense\n', r"rubric\.jsonl:3: not JSON"),
    ],
)
def test_an_unusable_rubric_is_named_with_its_fault(tmp_path: Path, content: str | bytes, pattern: str) -> None:
    with pytest.raises(InputError, match=pattern):
        load_rubric(write(tmp_path / "rubric.jsonl", content))


def test_a_rubric_in_lines_may_hold_other_line_ends(tmp_path: Path) -> None:
    rows = [{"subcategory": name, "noncompliance": f"no\u2028{name}", "compliance": "yes\x85"} for name in ("a", "b")]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    rubric = load_rubric(write(tmp_path / "rubric.jsonl", text))
    assert [rubric.descriptions[name].noncompliance for name in ("a", "b")] == ["no a", "no b"]


@pytest.mark.parametrize("content", ["[", "[]", "{}", '{"files": 3}', '{"files": [{"use": "training"}]}'])
def test_an_unusable_manifest_of_labels_is_named(tmp_path: Path, content: str) -> None:
    write(tmp_path / "manifest.json", content)
    with pytest.raises(InputError, match=r"manifest\.json: unusable manifest"):
        label_files([tmp_path])


def test_a_folder_without_an_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no readable evaluation\.json"):
        read_evaluation(tmp_path)


def test_a_corrupt_zst_file_is_named(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    whole = zstandard.ZstdCompressor().compress(b'{"response": "a"}\n' * 50)
    for content, pattern in ((b"no archive at all", "corrupt .zst file"), (whole[:-4], "it ends early")):
        with pytest.raises(InputError, match=pattern):
            list(read_rows(write(tmp_path / "a.jsonl.zst", content)))
    two = write(tmp_path / "b.jsonl.zst", whole + whole)
    assert len(list(read_rows(two))) == 100


def test_refitting_says_how_many_prompts_it_takes() -> None:
    with pytest.raises(InputError, match=f"the labels are of 1 prompts: refitting takes {FOLDS} at least"):
        _numbered(["a", "a"])


@pytest.mark.parametrize(
    ("strategy", "n", "pattern"), [("best", 3, "unknown strategy 'best'"), ("uniform", 0, "draw 0")]
)
def test_a_draw_that_cannot_be_made_is_refused(strategy: str, n: int, pattern: str) -> None:
    with pytest.raises(InputError, match=pattern):
        draw([], n, strategy, seed=0)  # type: ignore[arg-type]


def test_a_file_system_without_locks_keeps_nothing_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("refusal_clf.locking.fcntl.flock", no_locks)
    with locked(tmp_path), locked(tmp_path):
        assert (tmp_path / LOCK_FILE).exists()
    assert not (tmp_path / LOCK_FILE).exists()


def test_a_lock_that_was_removed_meanwhile_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    taken: list[int] = []
    lock = fcntl.flock

    def removed_at_first(handle: int, how: int) -> None:
        lock(handle, how)
        taken.append(handle)
        if len(taken) == 1:
            (tmp_path / LOCK_FILE).unlink()

    monkeypatch.setattr("refusal_clf.locking.fcntl.flock", removed_at_first)
    with locked(tmp_path):
        assert len(taken) == 2
        assert (tmp_path / LOCK_FILE).exists()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(taken[0])


def test_a_folder_that_cannot_be_made_or_locked_is_named(tmp_path: Path) -> None:
    write(tmp_path / "file", "")
    with pytest.raises(InputError, match="cannot make this folder"), locked(tmp_path / "file" / "out"):
        pass
    (tmp_path / "out" / LOCK_FILE).mkdir(parents=True)
    with pytest.raises(InputError, match="out: cannot be written"), locked(tmp_path / "out"):
        pass


def test_arguments_that_name_nothing_to_do_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    assert_one_error(run("explain"), "give a FILE with --id, or --response")
    assert_one_error(run("explain", rows, "--response", "x"), "give a FILE with --id, or --response")
    assert_one_error(run("explain", "--response", "x", "--id", "r1"), "--id chooses a completion of a FILE")
    assert_one_error(run("explain", rows, "--id", "r1", "--prompt", "p"), "belong to --response")
    out = ("--out", tmp_path / "o.jsonl")
    assert_one_error(run("review", *out), "give a FILE of completions, or --merge")
    assert_one_error(run("review", rows, *out, "--prefer", "first"), "--prefer has a meaning with --merge only")
    assert_one_error(run("review", rows, *out, "--merge", rows, rows), "--merge takes two labels files and no FILE")
    assert_one_error(run("data", "pull", "coconot", "--from-dir", tmp_path), "no file of the subset 'original'")
    assert_one_error(run("data", "pull", "coconot", "--from-dir", tmp_path / "none"), "no such folder")


@needs_model
@pytest.mark.parametrize("key", ["", " ", "two words", "clé"])
def test_a_servers_key_is_one_that_can_be_sent(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("prometheus_client")
    monkeypatch.setenv("A_KEY", key)
    outcome = run("serve", "--api-key-env", "A_KEY", "--port", "0")
    assert_one_error(outcome, "the environment variable A_KEY holds no key")
    assert not key.strip() or key not in outcome.err
