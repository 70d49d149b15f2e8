"""`refusal-clf score`: what it prints, what it writes, and what it refuses to overwrite."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from cli_harness import ROWS, assert_one_error, needs_model, process, run, write_rows

pytestmark = needs_model

RESULTS = ["compliance_coconot.tsv", "run.json", "summary.json", "verdicts.jsonl"]


@pytest.fixture
def completions(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "completions.jsonl", ROWS)


def test_a_table_goes_to_standard_output_and_nothing_else(completions: Path) -> None:
    outcome = run("score", completions)
    assert (outcome.status, outcome.err) == (0, "")
    assert "coconot · original" in outcome.out
    assert "Requests with safety concerns" in outcome.out


def test_json_is_one_document(completions: Path) -> None:
    outcome = process("score", completions, "--format", "json")
    summary = json.loads(outcome.out)
    assert (outcome.status, outcome.err) == (0, "")
    assert (summary["schema_version"], summary["n"], summary["n_empty"]) == (2, 12, 0)


def test_markdown_has_a_table_for_each_subset(completions: Path) -> None:
    out = run("score", completions, "--format", "markdown", "--details").out
    assert out.count("### coconot") == 2
    assert "| &emsp;privacy violations |" in out


def test_results_are_written_and_named_on_standard_error(completions: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "mine"
    outcome = run("score", completions, "--out", out, "--format", "json")
    assert sorted(path.name for path in out.iterdir()) == RESULTS
    assert json.loads((out / "summary.json").read_text()) == json.loads(outcome.out)
    verdicts = [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]
    assert [verdict["id"] for verdict in verdicts] == [row["id"] for row in ROWS]
    assert str(out) in outcome.err


def test_the_coconot_table_agrees_with_the_summary(completions: Path, tmp_path: Path) -> None:
    summary = json.loads(run("score", completions, "--out", tmp_path / "out", "--format", "json").out)
    header, *lines = (tmp_path / "out" / "compliance_coconot.tsv").read_text().splitlines()
    assert header == "Category\tfull_compliance\tpartial_refusal\tfull_refusal\taverage_score"
    by_name = {line.split("\t")[0]: [float(cell) for cell in line.split("\t")[1:]] for line in lines}
    for group in summary["groups"]:
        if group["subcategory"] is None:
            continue
        prefix = "contrast: " if group["subset"] == "contrast" else ""
        full, partial, none, average = by_name[prefix + group["subcategory"]]
        if prefix:  # the published script turns the contrast set around
            full, none, average = none, full, 2 - average
        assert full == pytest.approx(100 * group["compliance_rate"], abs=0.005)
        assert partial == pytest.approx(100 * group["neither_rate"], abs=0.005)
        assert none == pytest.approx(100 * group["noncompliance_rate"], abs=0.005)
        assert average == pytest.approx(2 * group["compliance_rate"] + group["neither_rate"], abs=0.005)


def test_earlier_results_are_neither_mixed_nor_lost(completions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("score", completions, "--out", out)
    before = (out / "verdicts.jsonl").read_bytes()
    other = write_rows(tmp_path / "other.jsonl", ROWS[:3])
    assert_one_error(run("score", other, "--out", out), "--overwrite or --resume")
    assert_one_error(run("score", other, "--out", out, "--resume"), "cannot be resumed")
    assert (out / "verdicts.jsonl").read_bytes() == before
    assert run("score", other, "--out", out, "--overwrite").status == 0
    assert (out / "verdicts.jsonl").read_text().count("\n") == 3


@pytest.mark.parametrize("kept", [0, 5, 12])
def test_a_resumed_run_ends_like_one_that_was_never_interrupted(completions: Path, tmp_path: Path, kept: int) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    expected = run("score", completions, "--out", whole, "--format", "json").out
    run("score", completions, "--out", cut)
    lines = (whole / "verdicts.jsonl").read_text().splitlines(keepends=True)
    (cut / "verdicts.jsonl").write_text("".join(lines[:kept]) + '{"id": "half a li')
    (cut / "summary.json").unlink()
    assert run("score", completions, "--out", cut, "--resume", "--format", "json").out == expected
    assert (cut / "verdicts.jsonl").read_text() == "".join(lines)


def test_skipped_rows_are_counted_and_listed(completions: Path, tmp_path: Path) -> None:
    with completions.open("a") as file:
        file.write("{oops\n")
    outcome = run("score", completions, "--on-error", "skip", "--out", tmp_path / "out", "--format", "json")
    summary = json.loads(outcome.out)
    [skipped] = (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()
    assert (summary["n"], summary["n_skipped"], json.loads(skipped)["line"]) == (12, 1, 13)
    assert "skipped 1 unusable row" in outcome.err


def test_skipped_rows_are_shown_where_nothing_is_written(completions: Path) -> None:
    with completions.open("a") as file:
        file.write("{oops\n")
    assert "line 13: not JSON" in run("score", completions, "--on-error", "skip").err


def test_null_empty_and_huge_responses_are_scored(tmp_path: Path) -> None:
    responses = [None, "", "fine. " * 900_000]
    file = write_rows(tmp_path / "odd.jsonl", [{"prompt": "p", "response": text} for text in responses])
    summary = json.loads(run("score", file, "--format", "json").out)
    assert (summary["n"], summary["n_empty"], summary["flags"]["truncated_input"]) == (1, 2, 1)


def test_standard_input_that_turns_out_unusable_leaves_nothing(tmp_path: Path) -> None:
    rows = "".join(json.dumps(row) + "\n" for row in ROWS)
    outcome = process("score", "-", "--out", tmp_path / "out", stdin=rows + "{oops\n")
    assert_one_error(outcome, "<stdin>:13: not JSON")
    assert not (tmp_path / "out").exists()


def test_a_named_pipe_is_read_once(completions: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(completions.read_bytes()))
    writer.start()
    assert json.loads(run("score", pipe, "--format", "json").out)["n"] == 12
    writer.join()


def test_an_encoding_without_arrows_does_not_stop_a_run(completions: Path) -> None:
    outcome = process("score", completions, env={"PYTHONIOENCODING": "ascii"})
    assert (outcome.status, outcome.err) == (0, "")
    assert "coconot ? original" in outcome.out


def test_several_models_have_tables_of_their_own(tmp_path: Path) -> None:
    files = [
        write_rows(tmp_path / f"{name}.jsonl", [row | {"model": name} for row in ROWS]) for name in ("beta", "alpha")
    ]
    out = run("score", *files).out
    assert out.index("alpha · coconot · original") < out.index("beta · coconot · original")
    parts = json.loads(run("score", *files, "--format", "json").out)["by_model"]
    assert [(part["completions_of"], part["n"]) for part in parts] == [("alpha", 12), ("beta", 12)]
