"""The fine-tuning benchmark, with a tiny random model."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from cli_harness import REPOSITORY, needs_model
from tiny_causal import tiny_model, tiny_tokenizer

pytest.importorskip("torch")
pytest.importorskip("accelerate")

pytestmark = needs_model


@pytest.fixture(scope="module")
def benchmark() -> Any:
    path = REPOSITORY / "benchmarks" / "overrefusal_run.py"
    spec = importlib.util.spec_from_file_location("overrefusal_run", path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def test_it_trains_logs_and_draws_a_curve(benchmark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = benchmark.train(
        tiny_model(), tiny_tokenizer(), 1.0, tmp_path / "arm", steps=2, every=1, n_prompts=4, max_new_tokens=2
    )
    assert [row["step"] for row in history] == [0, 1, 2]
    benchmark.report({"one": history, "two": history}, tmp_path)
    assert capsys.readouterr().out.count("| one |") == 3
    assert json.loads((tmp_path / "curves.json").read_text())["curves"]["two"] == history
    drawing = ET.parse(tmp_path / "curves.svg").getroot()
    assert len(drawing.findall("{http://www.w3.org/2000/svg}polyline")) == 2


def test_the_loss_is_of_the_response_alone(benchmark: Any) -> None:
    row = benchmark.encoded(tiny_tokenizer(), "ask", "answer")
    assert len(row["input_ids"]) == len(row["labels"]) == len("ask\n") + len("answer") + 1
    assert row["labels"][:4] == [benchmark.IGNORED] * 4
    assert row["labels"][4:] == row["input_ids"][4:]


def test_an_arm_holds_as_many_answers_as_it_is_told(benchmark: Any) -> None:
    alone, mixed = list(benchmark.examples(0.0)), list(benchmark.examples(1.0))
    assert set(alone) < set(mixed)
    assert len(mixed) == 2 * len(alone)
