"""`bench`: what it measures with, that each tier has a process of its own, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from cli_harness import REPOSITORY, ROWS, assert_one_error, needs_model, run, write_rows

from refusal_clf import Completion, RefusalClassifier
from refusal_clf.report.speed import print_speed, speed_markdown
from refusal_clf.speed.measuring import draw, measure
from refusal_clf.speed.texts import LENGTHS, own_completions

# As the installed command starts: the working directory is not on the path.
COMMAND = [sys.executable, "-P", "-c", "from refusal_clf.cli import main; main()", "bench"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what two repeats of all tiers found, in a folder with a module that no process may import."""
    folder = tmp_path_factory.mktemp("bench")
    write_rows(folder / "rows.jsonl", ROWS)
    (folder / "json.py").write_text("raise SystemExit('the working directory is on the path')\n", encoding="utf-8")
    options = ["rows.jsonl", "--repeats", "2", "--threads", "1", "--format", "json"]
    done = subprocess.run(
        [*COMMAND, *options], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return dict(json.loads(done.stdout))


# --- what is measured with ------------------------------------------------------------------------------------------


def test_own_completions_are_distinct_and_the_same_every_time() -> None:
    completions = own_completions(2000)
    assert len({(one.prompt, one.response) for one in completions}) == 2000
    assert completions[:300] == own_completions(300)


def test_own_completions_are_as_long_as_real_responses() -> None:
    lengths = sorted(len(one.response) for one in own_completions(2000))
    wanted = mean((low + high) / 2 for low, high in pairwise(LENGTHS))
    assert mean(lengths) == pytest.approx(wanted, rel=0.05)
    assert lengths[1000] == pytest.approx(LENGTHS[10], rel=0.15)


@needs_model
def test_the_lexical_tier_is_as_unsure_of_own_completions_as_of_unseen_models() -> None:
    unseen = json.loads((REPOSITORY / "benchmarks" / "results" / "tiers.json").read_text(encoding="utf-8"))
    verdicts = RefusalClassifier.load().predict(own_completions(400))
    share = mean(verdict.tier == "full" for verdict in verdicts)
    assert share == pytest.approx(unseen["to_encoder"], abs=0.06)


def test_rows_are_drawn_from_the_whole_file_once_each() -> None:
    rows = [Completion(id=str(number)) for number in range(5000)]
    numbers = [int(one.id or "") for one in draw(iter(rows), 500)]
    assert len(set(numbers)) == 500
    # The mean of 500 of 5,000 numbers has a standard error of 61.
    assert mean(numbers) == pytest.approx(2499.5, abs=4 * 61)
    assert {one.id for one in draw(iter(rows[:20]), 500)} == {one.id for one in rows[:20]}


# --- what is found --------------------------------------------------------------------------------------------------


@needs_model
def test_every_tier_is_measured_and_asks_the_encoder_as_it_should(document: dict[str, Any]) -> None:
    tiers = {one["tier"]: one for one in document["tiers"]}
    assert list(tiers) == ["fast", "auto", "full"]
    assert (tiers["fast"]["encoder_share"], tiers["full"]["encoder_share"]) == (0, 1)
    assert document["completions"] | {"mean_characters": 0} == {"source": "rows.jsonl", "n": 12, "mean_characters": 0}
    for one in tiers.values():
        for name in ("rows_per_second", "latency_ms", "p99_ms", "startup_seconds", "peak_mib"):
            assert 0 < one[name]["min"] <= one[name]["median"] <= one[name]["max"]


@needs_model
def test_a_tier_without_the_encoder_does_not_pay_for_its_memory(document: dict[str, Any]) -> None:
    fast, auto, full = (one["peak_mib"]["max"] for one in document["tiers"])
    assert fast < min(auto, full) - 20


@needs_model
def test_the_estimate_is_start_up_and_rows_at_the_measured_rate(document: dict[str, Any]) -> None:
    for one in document["tiers"]:
        seconds = one["startup_seconds"]["median"] + 1380 / one["rows_per_second"]["median"]
        assert one["estimated_seconds"]["coconot"] == pytest.approx(seconds, abs=0.06)


@needs_model
def test_the_table_fits_eighty_columns_and_says_what_it_ran_on(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    rate = {"median": 12_345.6, "min": 11_987.6, "max": 13_210.6}  # of the fastest machine that we think of
    print_speed(document | {"tiers": [one | {"rows_per_second": rate} for one in document["tiers"]]})
    shown = capsys.readouterr().out
    table, _, sentences = shown.partition("A CoCoNot run (1,380 responses) takes about ")
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    assert f"onnxruntime {document['machine']['onnxruntime']}" in sentences
    assert "12 completions are fewer than are scored at once (512)" in sentences
    assert speed_markdown(document).count("\n| ") == 2 + 3  # head and ruler, and the tiers


@needs_model
def test_one_tier_can_be_chosen_and_is_what_the_estimate_is_of(tmp_path: Path) -> None:
    done = run("bench", write_rows(tmp_path / "rows.jsonl", ROWS), "--tier", "fast", "--repeats", "1")
    assert done.status == 0, done.err
    assert "(--tier fast)" in done.out
    assert "auto" not in done.out


# --- how it ends ----------------------------------------------------------------------------------------------------


@needs_model
def test_unusable_input_is_one_line_before_anything_is_measured(tmp_path: Path) -> None:
    empty = write_rows(tmp_path / "empty.jsonl", [])
    broken = write_rows(tmp_path / "broken.jsonl", ROWS)
    broken.write_text(broken.read_text(encoding="utf-8") + "{\n", encoding="utf-8")
    assert_one_error(run("bench", empty), r"empty\.jsonl: ")
    assert_one_error(run("bench", broken), r"broken\.jsonl:13: ")
    assert_one_error(run("bench", "--model", "nosuch"), "no model 'nosuch'")
    assert_one_error(run("bench", "--rows", "0"), "--rows")


@needs_model
def test_a_process_that_fails_is_said_with_its_last_words(tmp_path: Path) -> None:
    clf = RefusalClassifier.load()
    clf.directory = tmp_path  # vanished since it was loaded
    with pytest.raises(RuntimeError, match=r"tier fast ended with status 1: .*InputError.*config\.json"):
        measure(clf, [Completion(response="Yes.")], ["fast"], 1, lambda _: None)


@needs_model
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are counted in Linux's /proc")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signal_ends_it_without_a_traceback_and_leaves_no_process(number: signal.Signals, status: int) -> None:
    options = ["--tier", "full", "--rows", "20000", "--repeats", "1"]
    with subprocess.Popen(
        [*COMMAND, *options], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as bench:
        children = Path(f"/proc/{bench.pid}/task/{bench.pid}/children")
        while not (found := children.read_text(encoding="utf-8").split()):
            assert bench.poll() is None
            time.sleep(0.05)
        bench.send_signal(number)
        out, err = bench.communicate(timeout=120)
    assert (bench.returncode, out, err) == (status, "", "")
    for _ in range(600):  # a busy machine takes its time to start it, and so to end it
        if not Path(f"/proc/{found[0]}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{found[0]}").exists()


def test_the_peak_is_that_of_the_process_itself() -> None:
    code = "from refusal_clf.machine import peak_mib; b = b'x' * (150 << 20); del b; print(peak_mib())"
    held = b"x" * (300 << 20)  # by the parent: none of the child's
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert len(held) > 0
    assert 150 < float(done.stdout) < 290
