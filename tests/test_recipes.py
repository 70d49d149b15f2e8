"""docs/recipes.md: what it shows is run, or at least read, as its readers would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cli_harness import REPOSITORY, needs_model, write_rows

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
    scored = [sys.executable, "-m", "refusal_clf", "score", "refused.jsonl", "--out", "strict"]
    subprocess.run(scored, cwd=tmp_path, env=python_path(), check=True, capture_output=True)
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


@needs_model
@pytest.mark.parametrize("tracker", ["tensorboard", "wandb"])
def test_the_trainer_reports_refusals(tracker: str, tmp_path: Path) -> None:
    for name in ("torch", "accelerate", tracker):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    write_rows(tmp_path / "suite.jsonl", prompts(4, "contrast"))
    script = PRELUDE.format(tests=str(REPOSITORY / "tests")) + block("python")
    (tmp_path / "train.py").write_text(script, encoding="utf-8")
    logs = {"REPORT_TO": tracker, "WANDB_MODE": "offline", "TENSORBOARD_LOGGING_DIR": "logs", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=tmp_path,
        env=python_path() | logs,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "refusal/overrefusal" in done.stdout
    written = {"tensorboard": "**/events.out.tfevents.*", "wandb": "wandb/offline-run-*/*.wandb"}[tracker]
    assert any(b"refusal/overrefusal" in path.read_bytes() for path in tmp_path.glob(written))
