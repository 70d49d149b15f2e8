"""The command line: help, arguments, what bad input gets, and `info`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from cli_harness import REPOSITORY, ROWS, assert_one_error, needs_model, process, run, write_rows

from refusal_clf import __version__
from refusal_clf.cli import app


@pytest.fixture
def completions(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "completions.jsonl", ROWS)


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    heavy = "{'numpy', 'onnxruntime', 'tokenizers', 'torch', 'rich.progress', 'rich.table'}"
    code = f"import sys, refusal_clf.cli; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def commands(group: Any = None, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in (group or typer.main.get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=[name for name, _ in commands()])
def test_every_command_says_what_it_does_with_an_example(name: str, command: Any) -> None:
    assert command.help.split("\n\n")[0].rstrip().endswith((".", ":"))
    assert f"Example: refusal-clf {name} " in " ".join(command.help.split())


@pytest.mark.parametrize("name", ["score", "classify", "judge", "info"])
def test_every_option_is_explained(name: str) -> None:
    command = dict(commands())[name]
    assert [option.name for option in command.params if not option.help] == []


def test_help_goes_to_standard_output() -> None:
    outcome = run("--help")
    assert (outcome.status, outcome.err) == (0, "")
    assert "refusal-clf score completions.jsonl" in outcome.out


def test_no_arguments_get_help_and_the_status_of_wrong_arguments() -> None:
    outcome = run()
    assert outcome.status == 2
    assert "Usage: refusal-clf" in outcome.out


def test_the_version_is_printed() -> None:
    assert run("--version") == (0, f"refusal-clf {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["bogus"], "bogus"),
        (["score"], "FILE"),
        (["score", "x.jsonl", "--bogus"], "--bogus.*score --help"),
        (["score", "x.jsonl", "--suite", "harmbench"], "harmbench.*coconot"),
        (["score", "x.jsonl", "--format", "html"], "html"),
        (["score", "x.jsonl", "--tier", "slow"], "slow"),
        (["score", "x.jsonl", "--threads", "0"], "threads"),
        (["score", "x.jsonl", "--resume"], "--resume needs --out"),
        (["score", "x.jsonl", "--overwrite"], "--overwrite needs --out"),
        (["score", "x.jsonl", "--out", "o", "--resume", "--overwrite"], "exclude each other"),
        (["score", "-", "--out", "o", "--resume"], "--resume needs files"),
        (["score", "x.jsonl", "x.jsonl"], "x.jsonl: is given twice"),
        (["classify", "--prompt", "hello"], "--response is missing"),
    ],
)
def test_unusable_arguments_are_one_line_and_status_2(
    arguments: list[str], pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_error(run(*arguments), pattern)
    assert list(tmp_path.iterdir()) == []


# --- unusable input: found before a model is loaded --------------------------------------------------------------

GOOD = b'{"id": "a", "response": "fine"}\n'


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (b"", r"bad\.jsonl: .*(empty|no rows)"),
        (GOOD + b"{oops\n", r"bad\.jsonl:2: not JSON"),
        (GOOD + b'{"id": "b", "text_in": "x", "label": 1}\n', r"bad\.jsonl:2: no response field.*text_in, label"),
        (GOOD + b'{"id": "b", "response": "caf\xe9"}\n', r"bad\.jsonl:2: not valid UTF-8"),
        (GOOD + b'{"id": "b", "response": 7}\n', r"bad\.jsonl:2: .*number"),
        (GOOD + GOOD, r"bad\.jsonl:2: id 'a' repeats line 1"),
    ],
    ids=["empty", "not JSON", "no response", "not UTF-8", "a number", "a repeated id"],
)
def test_an_unusable_row_is_named_and_nothing_is_written(content: bytes, pattern: str, tmp_path: Path) -> None:
    file, out = tmp_path / "bad.jsonl", tmp_path / "out"
    file.write_bytes(content)
    assert_one_error(run("score", file, "--out", out), pattern)
    assert not out.exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert_one_error(run("score", tmp_path / "none.jsonl"), r"none\.jsonl: no such file")


def test_an_unknown_subset_is_refused(completions: Path) -> None:
    assert_one_error(run("score", completions, "--suite", "coconot", "--subset", "train"), "train.*original, contrast")


def test_an_unknown_model_is_named_and_nothing_is_written(completions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert_one_error(run("score", completions, "--model", "gpt-5", "--out", out), "no model 'gpt-5'.*packaged models")
    assert not out.exists()


def test_an_error_stays_one_line_whatever_a_file_is_called() -> None:
    outcome = run("score", "a\nb\x1b[31m.jsonl")
    assert_one_error(outcome, "a b.jsonl")
    assert "\x1b" not in outcome.err


def test_debug_shows_the_traceback_wherever_it_stands() -> None:
    for arguments in (["--debug", "score", "none.jsonl"], ["score", "none.jsonl", "--debug"]):
        outcome = process(*arguments)
        assert "Traceback" in outcome.err
        assert outcome.out == ""


def test_a_defect_of_ours_is_one_line_with_a_status_of_its_own(
    completions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("refusal_clf.classifier.RefusalClassifier.load", broken)
    outcome = run("score", completions)
    assert outcome == (70, "", "refusal-clf: error: internal error, RuntimeError: broken (--debug shows where)\n")


def test_an_interrupt_has_the_status_of_one(completions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("refusal_clf.classifier.RefusalClassifier.load", interrupted)
    assert run("score", completions).status == 130


@needs_model
def test_info_names_model_checksum_and_runtime(model_dir: Path) -> None:
    facts = json.loads(run("info", "--format", "json").out)
    assert facts["version"] == __version__
    assert re.fullmatch(r"[0-9a-f]{64}", facts["model"]["sha256"])
    assert facts["model"]["directory"] == str(model_dir)
    assert facts["providers"] == ["CPUExecutionProvider"]
    table = run("info", "--threads", "1").out
    assert facts["model"]["sha256"] in table
    assert re.search(r"^threads +1$", table, re.MULTILINE)
