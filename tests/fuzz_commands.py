"""What is fuzzed of single commands' files: results of a judge's batch, labels of a check, settings, half runs."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from refusal_clf.calibration.judged_pairs import judge_pairs
from refusal_clf.cli import command
from refusal_clf.cli.check import _labels
from refusal_clf.cli.configuration import load
from refusal_clf.gate import Rules, check
from refusal_clf.generation.output import CompletionsFile
from refusal_clf.pairing import Item, pair
from refusal_clf.reading import read_completions
from refusal_clf.records import Completion, Verdict
from refusal_clf.writing import read_verdicts

_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-commands-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
_KEYS = ("a1", "b2", "c3")


def _batch(data: bytes) -> None:
    """Collect a batch's results: every call is answered or not, once, and nothing is spent that was not reserved."""
    from refusal_clf.judge.batch import _rows, _store
    from refusal_clf.judge.budget import Budget
    from refusal_clf.judge.client import Endpoint, JudgeClient
    from refusal_clf.judge.judging import Judging
    from refusal_clf.judge.prices import Price
    from refusal_clf.judge.store import Call, Store

    path = _FOLDER / "labels.sqlite"
    path.unlink(missing_ok=True)
    client = _client(Endpoint, JudgeClient)
    with Store(path, judge="judge", prompt_version="1", rubric=None) as store:
        budget = Budget(max_calls=10, max_cost=10.0)
        judging = Judging(client, store, budget, ("compliance", "noncompliance", "neither"), Price(1.0, 1.0))
        calls = [Call(key, 1, 0.25, 100) for key in _KEYS if budget.reserve(0.25)]
        store.begin_batch("token", calls)
        rows = _rows([data.decode("utf-8", "replace")])
        assert len(rows) == sum(map(_is_object, data.split(b"\n")))
        with store.transaction():
            _store(judging, "token", rows)
            store.batch_closed("token")
        answered = store.answers(_KEYS)
        assert sum(map(len, answered.values())) + len(judging.progress.failed) == len(_KEYS)
        assert not store.calls_of("token")
        spent = store.spent(_KEYS)
        assert budget.in_flight == 0
        assert math.isclose(budget.cost, spent.cost, abs_tol=1e-9)
        assert 0 <= spent.cost <= len(_KEYS) * 0.25 or any(
            answer.prompt_tokens for one in answered.values() for answer in one
        )


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode("utf-8", "replace")), dict)
    except (ValueError, RecursionError):
        return False


@cache
def _client(endpoint: Any, client: Any) -> Any:
    return client(endpoint("judge", "http://localhost:1/v1", key="sk-0123456789"))


def _check_labels(data: bytes) -> None:
    """Check two runs with the judge's labels in the bytes; what stands behind U+0001 are those of the baseline."""
    now, mark, before = data.partition(b"\x01")
    (_FOLDER / "labels.jsonl").write_bytes(now)
    (_FOLDER / "before.jsonl").write_bytes(before)
    place = str(_FOLDER / "before.jsonl") if mark else None
    given = _labels(str(_FOLDER / "labels.jsonl"), place, None)
    old, new = _runs()
    pairs = pair(old, new)
    gate = check(pairs, Rules(min_pairs=5), new, judge_pairs(pairs, old, new, *given))
    for row in gate.comparisons:
        assert 0 <= row.p_value <= 1
        assert row.p_adjusted is None or row.p_value <= row.p_adjusted <= 1
        assert row.ci_low <= row.difference <= row.ci_high
    json.dumps(gate.to_dict(), allow_nan=False)


@cache
def _runs() -> tuple[list[Item], list[Item]]:
    """Return a baseline and a run over twelve prompts of CoCoNot, in which half of the answers changed."""
    runs: tuple[list[Item], list[Item]] = [], []
    for number in range(12):
        for run, changed in zip(runs, (False, number % 2 == 0), strict=True):
            complied = (number % 3 == 0) != changed
            verdict = Verdict(
                id=str(number),
                suite="coconot",
                subset="original",
                category=None,
                subcategory="privacy violations",
                model="after" if run is runs[1] else "before",
                verdict="compliance" if complied else "noncompliance",
                p_noncompliance=0.1 if complied else 0.9,
                refusal="full_compliance" if complied else "full_refusal",
                p_refusal=0.1 if complied else 0.9,
                tier="full",
            )
            run.append(Item(verdict, f"question {number}", f"answer {number}" + " again" * changed))
    return runs


def _generated(data: bytes) -> None:
    """Go on with a file of completions: what was answered stays, whatever was cut off; settings stand before U+0001."""
    settings, _, rows = data.partition(b"\x01")
    path = _FOLDER / "made.jsonl"
    path.write_bytes(rows)
    path.with_name("made.run.json").write_bytes(settings)
    prompts = [Completion(prompt="p"), Completion(prompt="q", id="7")]
    with CompletionsFile(path, {"model": "m"}, resume=True, overwrite=False) as out:
        held = list(out.done)
        for prompt in map(prompts.__getitem__, out.missing(prompts)):
            out.add(Completion(prompt=prompt.prompt, response="new", id=prompt.id))
        out.in_order(prompts)
    assert not out.missing(prompts)
    again = list(read_completions(path))
    assert len(again) == len(out.done)
    assert {(one.id, one.prompt, one.response) for one in held} <= {(one.id, one.prompt, one.response) for one in again}


def _run_folder(data: bytes) -> None:
    """Read a results folder as a baseline: verdicts before U+0001, then summary and settings."""
    from refusal_clf.baseline import read_run

    parts = (data.split(b"\x01") + [b"{}"] * 2)[:3]
    for name, part in zip(("verdicts.jsonl", "summary.json", "run.json"), parts, strict=True):
        (_FOLDER / "run").mkdir(exist_ok=True)
        (_FOLDER / "run" / name).write_bytes(part)
    run = read_run(_FOLDER / "run")
    assert [item.verdict for item in run.items] == list(read_verdicts(_FOLDER / "run"))


def _configuration(data: bytes) -> None:
    """Read settings of a project, as a file of their own and as a table of `pyproject.toml`."""
    folder = _FOLDER / "project"
    (folder / ".git").mkdir(parents=True, exist_ok=True)
    (folder / "refusal-clf.toml").unlink(missing_ok=True)
    pyproject, own = folder / "pyproject.toml", folder / "refusal-clf.toml"
    pyproject.write_bytes(data)
    try:
        load(_commands(), folder)
    finally:
        pyproject.unlink()
        own.write_bytes(data)
    found = load(_commands(), folder)
    assert found is not None
    assert "base_url" not in json.dumps(found.defaults)
    assert "api_key_env" not in json.dumps(found.defaults)


@cache
def _commands() -> Any:
    return command()


TARGETS: dict[str, Callable[[bytes], Any]] = {
    "batch_results": _batch,
    "check_labels": _check_labels,
    "generated": _generated,
    "run_folder": _run_folder,
    "configuration": _configuration,
}
