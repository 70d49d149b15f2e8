"""What is left when a run is killed, its folder goes, or two want the same; at length: `benchmarks/crash_safety.py`."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_harness import COMMAND, REPOSITORY, ROWS, assert_one_error, needs_model, run, write_rows
from judge_server import JudgeServer, Reply, completion, labelled, question_of, serving

from refusal_clf.locking import LOCK_FILE, locked, locked_file
from refusal_clf.records import InputError, Verdict
from refusal_clf.writing import VerdictWriter, completing, open_run_dir

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has neither SIGKILL nor these locks")

VERDICT = Verdict("1", "generic", None, None, None, None, "compliance", 0.1, "full_compliance", 0.1, "fast")


@pytest.fixture
def completions(tmp_path: Path) -> Path:
    rows = [
        row | {"id": str(number), "response": f"{row['response']} {number}"}
        for number in range(150)
        for row in ROWS[:1]
    ]
    many = [row | {"id": f"{row['id']}-{number}"} for row in rows for number in range(8)]
    return write_rows(tmp_path / "completions.jsonl", many)


def start(*arguments: str | Path, most_kib: int | None = None) -> subprocess.Popen[str]:
    """Start a command; `most_kib` bounds the files that it can write, as a full disk does."""
    bounded = ["bash", "-c", f'ulimit -f {most_kib}; exec "$@"', "bash"] if most_kib else []
    return subprocess.Popen(
        [*bounded, *COMMAND, *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, running: subprocess.Popen[str]) -> None:
    while not path.exists() and running.poll() is None:
        time.sleep(0.005)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@needs_model
def test_a_run_that_is_killed_again_and_again_ends_like_one_that_was_not(completions: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert run("score", completions, "--out", whole).status == 0
    chance = random.Random(0)
    for kill in range(5):
        running = start("score", completions, "--out", out, *(["--resume"] if kill else []))
        wait_for(out / LOCK_FILE, running) if not kill else time.sleep(0.3)
        time.sleep(chance.uniform(0, 0.5))
        running.kill()
        running.communicate()
    assert run("score", completions, "--out", out, "--resume").status == 0
    assert contents(out) == contents(whole)


@needs_model
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_told_to_stop_says_how_to_go_on(completions, tmp_path, sent, status) -> None:
    out = tmp_path / "out"
    running = start("score", completions, "--out", out, "--tier", "full", "--threads", "1")
    wait_for(out / "verdicts.jsonl", running)
    running.send_signal(sent)
    _, err = running.communicate()
    assert (running.returncode, "--resume goes on" in err, "Traceback" in err) == (status, True, False)
    assert not (out / LOCK_FILE).exists()


@needs_model
def test_a_second_run_into_the_same_folder_is_refused(completions: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "out"):
        assert_one_error(
            run("score", completions, "--out", tmp_path / "out"), "another run is writing into this folder"
        )
    assert run("score", completions, "--out", tmp_path / "out").status == 0


class TestGenerate:
    """`generate` against a server on this machine whose answers tell what was asked."""

    @pytest.fixture
    def server(self) -> Iterator[JudgeServer]:
        pytest.importorskip("openai")
        with serving(lambda _, body: Reply(completion(f"To {question_of(body)}"), delay=0.05)) as server:
            yield server

    @pytest.fixture
    def command(self, server: JudgeServer, tmp_path: Path) -> list[str | Path]:
        prompts = write_rows(tmp_path / "prompts.jsonl", [{"id": f"p{at}", "prompt": f"q{at}"} for at in range(80)])
        return [
            *("generate", "--suite", prompts, "--model", "m", "--base-url", server.url, "--concurrency", "4"),
            *("--out", tmp_path / "out" / "c.jsonl"),
        ]

    def test_killed_again_and_again_it_loses_and_repeats_nothing(self, command, server, tmp_path) -> None:
        out, chance, held = tmp_path / "out" / "c.jsonl", random.Random(0), set[str]()
        for kill in range(3):
            running = start(*command, *(["--resume"] if kill else []))
            while running.poll() is None and len(_prompts_in(out)) == len(held):
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.3))
            running.kill()
            running.communicate()
            assert not held & {question_of(body) for body in server.requests}
            server.requests.clear()
            held = _prompts_in(out)
        (out.parent / ".c.jsonl.abcd_123.part").write_text("half")
        assert run(*command, "--resume").status == 0
        assert not held & {question_of(body) for body in server.requests}
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert [(row["id"], row["response"]) for row in rows] == [(f"p{at}", f"To q{at}") for at in range(80)]
        assert sorted(contents(out.parent)) == ["c.jsonl", "c.run.json"]

    @pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_told_to_stop_it_says_how_to_go_on(self, command, tmp_path, sent, status) -> None:
        running = start(*command)
        while running.poll() is None and not _prompts_in(tmp_path / "out" / "c.jsonl"):
            time.sleep(0.01)
        running.send_signal(sent)
        _, err = running.communicate()
        assert running.returncode == status
        assert err.startswith("interrupted; the same command with --resume goes on")
        assert err.count("\n") == 1

    def test_a_second_run_into_the_same_file_is_refused(self, command, tmp_path) -> None:
        with locked_file(tmp_path / "out" / "c.jsonl"):
            assert_one_error(run(*command), r"c\.jsonl: another run is writing this file")
        assert run(*command).status == 0

    def test_a_file_that_is_deleted_meanwhile_is_there_again(self, command, tmp_path) -> None:
        running = start(*command)
        while running.poll() is None and not _prompts_in(tmp_path / "out" / "c.jsonl"):
            time.sleep(0.01)
        shutil.rmtree(tmp_path / "out")
        assert running.wait() == 0
        assert len(_prompts_in(tmp_path / "out" / "c.jsonl")) == 80
        assert run(*command, "--resume").status == 0

    def test_a_file_that_takes_its_place_meanwhile_is_left_alone(self, command, tmp_path) -> None:
        out = tmp_path / "out" / "c.jsonl"
        running = start(*command)
        while running.poll() is None and not _prompts_in(out):
            time.sleep(0.01)
        out.unlink()
        out.write_text("mine")
        _, err = running.communicate()
        assert running.returncode == 2
        assert "was replaced while it was written" in err
        assert out.read_text() == "mine"

    def test_a_full_disk_names_the_file_and_loses_no_line(self, command, tmp_path) -> None:
        full = start(*command, most_kib=4)
        _, err = full.communicate()
        assert full.returncode == 2
        assert re.fullmatch(r"refusal-clf: error: \S+c\.jsonl: File too large\n", err)
        assert run(*command, "--resume").status == 0
        assert len(_prompts_in(tmp_path / "out" / "c.jsonl")) == 80


def _prompts_in(path: Path) -> set[str]:
    """Return the prompts of a file's complete lines."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return {json.loads(line)["prompt"] for line in lines}


def test_a_store_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("openai")
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    long = Reply(completion(f"{'It declines. ' * 300}<label>noncompliance</label>"))
    with serving(lambda *_: long) as server:
        command = ("judge", rows, "--model", "m", "--base-url", server.url, "--out", tmp_path / "l.jsonl")
        full = start(*command, most_kib=32)
        _, err = full.communicate()
        assert full.returncode == 2
        assert re.fullmatch(r"refusal-clf: error: \S+l\.sqlite: cannot be written \(.+\n", err), err
        assert "goes on" in err
        assert run(*command).status == 0
    assert len((tmp_path / "l.jsonl").read_text().splitlines()) == len(ROWS)


def test_a_store_that_is_deleted_meanwhile_is_said(tmp_path: Path) -> None:
    pytest.importorskip("openai")
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)

    def take_away(number: int, _: object) -> Reply:
        if number == 2:
            shutil.rmtree(tmp_path / "out")
        return labelled()

    with serving(take_away) as server:
        fixed = ("judge", rows, "--model", "m", "--base-url", server.url, "--out", tmp_path / "out" / "l.jsonl")
        outcome = run(*fixed)
    assert outcome.status == 0
    assert "l.sqlite was deleted meanwhile: what it held would be asked again" in outcome.err
    assert len((tmp_path / "out" / "l.jsonl").read_text().splitlines()) == len(ROWS)


def test_a_verdict_that_cannot_be_written_names_its_file(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / "verdicts.jsonl").symlink_to("/dev/full")
    with (
        pytest.raises(OSError, match=r"No space left.*verdicts\.jsonl"),
        VerdictWriter(tmp_path, resume=False) as writer,
    ):
        writer.write([VERDICT])


@pytest.mark.parametrize("replaced", [False, True])
def test_results_that_were_deleted_while_they_were_written_are_no_success(tmp_path: Path, replaced: bool) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(FileNotFoundError):
        _write_while_the_folder_goes(out, replaced)


def _write_while_the_folder_goes(out: Path, replaced: bool) -> None:
    with VerdictWriter(out, resume=False) as writer:
        writer.write([VERDICT])
        shutil.rmtree(out)
        if replaced:
            out.mkdir()
            (out / "verdicts.jsonl").write_text("")


def test_half_written_files_of_a_killed_run_are_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".summary.json.abc").write_text("{")
    (tmp_path / ".summary.of.mine").write_text("stays")
    open_run_dir(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".summary.of.mine", "run.json"]


def test_a_binary_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), completing(path):
        Path(tmp_path / "missing").read_bytes()
    assert contents(tmp_path) == {"a.safetensors": b"old"}


def _hold(folder: Path, held, release) -> None:
    with locked(folder):
        held.set()
        release.wait()


def test_a_killed_process_leaves_no_lock_and_one_that_lives_keeps_it(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    held, release = spawn.Event(), spawn.Event()
    holder = spawn.Process(target=_hold, args=(tmp_path, held, release))
    holder.start()
    assert held.wait(30)
    with pytest.raises(InputError, match="another run"), locked(tmp_path):
        pass
    holder.kill()
    holder.join()
    assert (tmp_path / LOCK_FILE).exists()
    with locked(tmp_path):
        pass
    assert not (tmp_path / LOCK_FILE).exists()
