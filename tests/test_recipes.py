"""docs/recipes.md: what it shows is run, or at least read, as its readers would."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cli_harness import REPOSITORY, needs_model, run, write_rows

from refusal_clf.cli import app

RECIPES = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")

PRELUDE = """
import sys
sys.path.insert(0, {tests!r})
from tiny_causal import tiny_model, tiny_tokenizer
model, tokenizer = tiny_model(), tiny_tokenizer()
tokenizer.pad_token = tokenizer.eos_token
dataset = [{{"input_ids": [1, 2, 3], "labels": [1, 2, 3]}}] * 8
"""


def block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", RECIPES, re.MULTILINE | re.DOTALL)
    return str(found)


def prompts(n: int, subset: str) -> list[dict[str, Any]]:
    return [
        {
            "id": f"c{k}",
            "suite": "coconot",
            "subset": subset,
            "subcategory": "underspecified",
            "prompt": f"Menu {k}?",
        }
        for k in range(n)
    ]


def python_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("accelerate")
    from tiny_causal import tiny_model, tiny_tokenizer

    tiny_model().save_pretrained(tmp_path / "tiny")
    tiny_tokenizer().save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@needs_model
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_makefile_goes_from_a_checkpoint_to_the_gate(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(block("makefile"), encoding="utf-8")
    write_rows(tmp_path / "suite.jsonl", prompts(32, "original"))

    def make(target: str, **variables: str) -> subprocess.CompletedProcess[str]:
        given = {"REFUSAL_CLF": f"{sys.executable} -m refusal_clf", "MODEL": "tiny", "SUITE": "suite.jsonl"} | variables
        arguments = ["make", target, *(f"{name}={value}" for name, value in given.items())]
        return subprocess.run(arguments, cwd=tmp_path, env=python_path(), capture_output=True, text=True, check=False)

    first = make("baseline")
    assert first.returncode == 0, first.stderr
    gate = make("gate")
    assert gate.returncode == 0, gate.stderr
    assert "passed (32 items compared)" in gate.stdout
    assert "generate" not in gate.stdout  # nothing is done twice
    refused = [row | {"response": "I'm sorry, but I can't help with that."} for row in prompts(32, "original")]
    write_rows(tmp_path / "refused.jsonl", refused)
    assert run("score", tmp_path / "refused.jsonl", "--out", tmp_path / "strict").status == 0
    worse = make("gate", BASELINE="strict")
    assert worse.returncode != 0
    assert "FAILED: coconot · original" in worse.stdout


def test_the_workflow_is_yaml_and_runs_commands_with_options_that_exist() -> None:
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load(block("yaml"))
    steps = workflow["jobs"]["gate"]["steps"]
    lines = [step["run"] for step in steps if step.get("run", "").startswith("refusal-clf")]
    assert [line.split()[1] for line in lines] == ["generate", "check"]
    for line in [*lines, *block("sh").splitlines()]:
        if line.startswith("refusal-clf"):
            assert set(re.findall(r"--[a-z-]+", line)) <= options_of(line.split()[1]), line


def options_of(command: str) -> set[str]:
    import typer

    known = typer.main.get_command(app).commands[command].params
    return {option for parameter in known for option in parameter.opts}


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """Write the recipe's script, after what a reader brings along: a model, a tokenizer, data and a suite."""
    for name in ("torch", "accelerate"):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    write_rows(tmp_path / "suite.jsonl", prompts(4, "contrast"))
    script = tmp_path / "train.py"
    script.write_text(PRELUDE.format(tests=str(REPOSITORY / "tests")) + block("python"), encoding="utf-8")
    return script


@needs_model
@pytest.mark.filterwarnings("ignore:'pin_memory':UserWarning")
def test_the_trainer_reports_refusals_to_tensorboard(
    training: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(training.parent)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, value in {"REPORT_TO": "tensorboard", "TENSORBOARD_LOGGING_DIR": "logs"}.items():
        monkeypatch.setenv(name, value)
    runpy.run_path(str(training))  # in this process, which spares it six seconds of imports
    assert "refusal/overrefusal" in capsys.readouterr().out
    [events] = training.parent.glob("logs/**/events.out.tfevents.*")
    assert b"refusal/overrefusal" in events.read_bytes()


@needs_model
def test_the_trainer_reports_refusals_to_weights_and_biases(training: Path) -> None:
    if find_spec("wandb") is None:
        pytest.skip("wandb is not installed")
    done = subprocess.run(  # a process of its own, with whose end its run is complete
        [sys.executable, str(training)],
        cwd=training.parent,
        env=python_path() | {"REPORT_TO": "wandb", "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "refusal/overrefusal" in done.stdout
    written = [path.read_bytes() for path in training.parent.glob("wandb/offline-run-*/*.wandb")]
    assert any(b"refusal/overrefusal" in one for one in written)
