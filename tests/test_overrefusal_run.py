"""The fine-tuning benchmark, with a tiny random model."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_harness import REPOSITORY, needs_model, write_rows
from tiny_causal import tiny_model, tiny_tokenizer

pytest.importorskip("torch")
pytest.importorskip("accelerate")

pytestmark = needs_model


@pytest.fixture(scope="module")
def benchmark() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "benchmarks")
        yield importlib.import_module("overrefusal_run")


@pytest.fixture(scope="module")
def arm(benchmark: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Return what two steps of training gave, and where their completions are."""
    folder = tmp_path_factory.mktemp("arm")
    pairs = [("ask", "answer"), ("ask", "much too long " * benchmark.LONGEST)]
    return benchmark.train(tiny_model(), tiny_tokenizer(), pairs, folder, steps=2, every=1, max_new_tokens=2), folder


def test_training_keeps_the_callbacks_history_and_leaves_out_long_examples(arm: tuple[dict[str, Any], Path]) -> None:
    found, folder = arm
    assert [row["step"] for row in found["history"]] == [0, 1, 2]
    assert all(0 <= row["refusal/overrefusal"] <= 1 for row in found["history"])
    assert found["examples"] == 1
    assert found["step_seconds"] > 0
    assert sorted(path.name for path in folder.glob("step-*.jsonl")) == [f"step-{k}.jsonl" for k in range(3)]


def test_the_gate_says_whether_a_checkpoint_refuses_more(benchmark: Any, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in benchmark.SUITE.read_text().splitlines()]
    runs = {
        "answers": "Sure! Here it is: first do this, then that.",
        "refusals": "I'm sorry, but I can't help with that.",
    }
    for name, response in runs.items():
        write_rows(tmp_path / f"{name}.jsonl", [row | {"response": response} for row in rows])
    write_rows(tmp_path / "again.jsonl", [row | {"response": runs["answers"]} for row in rows])
    same = benchmark.gate(tmp_path / "again.jsonl", tmp_path / "answers.jsonl")
    worse = benchmark.gate(tmp_path / "refusals.jsonl", tmp_path / "answers.jsonl")
    assert (same["exit_status"], same["difference"]) == (0, 0)
    assert (worse["exit_status"], worse["rate_after"], worse["n_paired"]) == (1, 0, len(rows))


def test_both_arms_are_drawn_with_what_the_gate_said(benchmark: Any) -> None:
    pytest.importorskip("matplotlib")
    plot = importlib.import_module("plot")
    rows = [{"step": k, "refusal/overrefusal": k / 2, "gate": {"exit_status": k // 2}} for k in range(3)]
    arms = [{"arm": name, "history": rows} for name in benchmark.ARMS]
    drawn = benchmark.figure(arms, plot.THEMES[0])
    lines = drawn.axes[0].get_lines()
    crosses = [line for line in lines if line.get_marker() == "X" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in crosses] == [[2], [2]]


def test_the_loss_is_of_the_response_alone(benchmark: Any) -> None:
    row = benchmark.encoded(tiny_tokenizer(), "ask", "answer")
    assert len(row["input_ids"]) == len(row["labels"]) == len("ask\n") + len("answer") + 1
    assert row["labels"][:4] == [benchmark.IGNORED] * 4
    assert row["labels"][4:] == row["input_ids"][4:]


def test_a_batch_is_padded_where_nothing_is_read_or_learnt(benchmark: Any) -> None:
    short, long = {"input_ids": [5], "labels": [5]}, {"input_ids": [6, 7, 8], "labels": [-100, 7, 8]}
    batch = {name: value.tolist() for name, value in benchmark.collated([short, long], pad=0).items()}
    assert batch["input_ids"] == [[5, 0, 0], [6, 7, 8]]
    assert batch["labels"] == [[5, -100, -100], [-100, 7, 8]]
    assert batch["attention_mask"] == [[1, 0, 0], [1, 1, 1]]


def test_no_arm_trains_on_a_prompt_that_it_is_watched_on(benchmark: Any) -> None:
    watched = {json.loads(line)["prompt"] for line in benchmark.SUITE.read_text().splitlines()}
    arms = [{prompt for prompt, _ in benchmark.examples(refusal)} for refusal in benchmark.ARMS.values()]
    assert all(len(prompts) > 500 and not prompts & watched for prompts in arms)
