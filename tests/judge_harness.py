"""How the tests run `refusal-clf judge` against a server on a loopback port."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_harness import ROWS, Outcome, run, write_rows
from judge_server import JudgeServer

from refusal_clf.judge.store import read_calls

KEY = "sk-test-0123456789abcdef"
MODEL = "judge"
PRICES = {"models": {MODEL: {"input": 10.0, "output": 1000.0}}, "batch_factor": 0.5}


def prepare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a key, and wait for nothing that no endpoint asked for."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("refusal_clf.judge.retrying.Retry.wait", lambda *_: 0.01)


def make_completions(folder: Path) -> Path:
    """Write the harness's rows, each with a response of its own."""
    rows = [row | {"response": f"{row['response']} {row['id']}"} for row in ROWS]
    return write_rows(folder / "completions.jsonl", rows)


def judge(server: JudgeServer | str, completions: Path, *options: str | Path) -> Outcome:
    url = server if isinstance(server, str) else server.url
    out = completions.with_name("labels.jsonl")
    fixed = ("--model", MODEL, "--base-url", url, "--api-key-env", "OPENAI_API_KEY", "--out", out, "--format", "json")
    return run("judge", completions, *fixed, *options)


def facts(outcome: Outcome) -> dict[str, Any]:
    assert outcome.status == 0, outcome.err
    return dict(json.loads(outcome.out))


def labels(completions: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in completions.with_name("labels.jsonl").read_text(encoding="utf-8").splitlines()]


def store(completions: Path) -> list[dict[str, Any]]:
    return read_calls(completions.with_name("labels.sqlite"))


def arguments(server: JudgeServer, completions: Path) -> list[str]:
    out = completions.with_name("labels.jsonl")
    return [
        "judge",
        str(completions),
        "--model",
        MODEL,
        "--base-url",
        server.url,
        "--api-key-env",
        "OPENAI_API_KEY",
        "--out",
        str(out),
        "--concurrency",
        "3",
    ]


def priced(completions: Path) -> Path:
    path = completions.with_name("prices.json")
    path.write_text(json.dumps(PRICES), encoding="utf-8")
    return path
