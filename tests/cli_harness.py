"""How the tests run the command line: in this process where they can, in a process of its own where they must."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from refusal_clf.cli import main
from refusal_clf.model_directories import available_models

REPOSITORY = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "refusal_clf"]

needs_model = pytest.mark.skipif(not available_models(), reason="no model under models/: `make model` builds one")

ROWS: list[dict[str, Any]] = [
    {
        "id": f"r{number}",
        "suite": "coconot",
        "subset": "contrast" if number % 4 == 0 else "original",
        "subcategory": ["privacy violations", "underspecified"][number % 2],
        "prompt": f"question {number}",
        "response": "I'm sorry, but I can't help with that." if number % 3 else "Sure! Here is what you asked for.",
    }
    for number in range(12)
]


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


def run(*arguments: str | Path) -> Outcome:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return Outcome(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def process(*arguments: str | Path, stdin: str = "", env: dict[str, str] | None = None) -> Outcome:
    """Run a command in a process of its own, with `env` added to its environment."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, **(env or {})},
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def assert_one_error(outcome: Outcome, pattern: str) -> None:
    """Assert exit status 2, nothing on standard output and one line on standard error."""
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("refusal-clf: error: ")
    assert outcome.err.count("\n") == 1
    assert re.search(pattern, outcome.err), outcome.err
