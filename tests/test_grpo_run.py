"""The reinforcement-learning benchmark, with a tiny random model."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from cli_harness import REPOSITORY, needs_model
from tiny_causal import tiny_model, tiny_tokenizer

for name in ("trl", "peft", "datasets"):
    pytest.importorskip(name)

pytestmark = needs_model

CHAT = "{% for turn in messages %}{{ turn['role'] }}: {{ turn['content'] }} {% endfor %}"


@pytest.fixture(scope="module")
def benchmark() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "benchmarks")
        yield importlib.import_module("grpo_run")


def test_prompts_are_in_turns_to_be_answered_and_to_be_declined(benchmark: Any) -> None:
    rows = benchmark.prompts(7)
    assert [row["subset"] for row in rows] == ["contrast", "original"] * 3 + ["contrast"]
    assert len({row["prompt"][0]["content"] for row in rows}) == 7
    assert rows == benchmark.prompts(7)


def test_each_step_has_the_rewards_that_trl_averaged(benchmark: Any) -> None:
    steps = benchmark.train(tiny_model(), tiny_tokenizer(CHAT), benchmark.prompts(4), 2)
    assert [row["step"] for row in steps] == [1, 2]
    for row in steps:
        assert len(row["rewards"]) == len(row["subsets"]) == benchmark.PROMPTS * benchmark.GENERATIONS
        assert all(-1 <= value <= 1 for value in row["rewards"])
        assert row["reward"] == pytest.approx(sum(row["rewards"]) / len(row["rewards"]), abs=1e-3)
        assert row["reward_milliseconds"] > 0
