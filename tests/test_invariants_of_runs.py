"""What a verdict does not depend on: order, neighbours, chunks, threads, processes, and the way it was asked for."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from cli_harness import process

from refusal_clf import Completion, RefusalClassifier
from refusal_clf.reading import read_completions
from refusal_clf.records import Verdict


@pytest.fixture(scope="module")
def completions(samples: Path) -> list[Completion]:
    return list(read_completions(samples))


@pytest.fixture(scope="module")
def by_tier(model_dir: Path, completions: list[Completion]) -> dict[str, list[Verdict]]:
    clf = RefusalClassifier.load(model_dir, threads=1)
    return {tier: clf.predict(completions, tier=tier) for tier in ("fast", "full", "auto")}


def test_auto_answers_each_row_as_the_tier_that_it_names(by_tier: dict[str, list[Verdict]]) -> None:
    tiers = {verdict.tier for verdict in by_tier["auto"]}
    assert tiers >= {"fast", "full"}
    for fast, full, auto in zip(by_tier["fast"], by_tier["full"], by_tier["auto"], strict=True):
        assert auto == {"fast": fast, "full": full, "rule": full}[auto.tier]


@pytest.mark.parametrize("tier", ["fast", "full", "auto"])
def test_no_verdict_depends_on_order_or_neighbours(
    model_dir: Path, completions: list[Completion], by_tier: dict[str, list[Verdict]], tier: str
) -> None:
    clf = RefusalClassifier.load(model_dir, threads=1)
    draw = random.Random(7)
    order = draw.sample(range(len(completions)), len(completions))
    shuffled = clf.predict((completions[place] for place in order), tier=tier)
    assert shuffled == [by_tier[tier][place] for place in order]
    for place in draw.sample(range(len(completions)), 4):
        long = [Completion(prompt="p" * 900, response=f"{number} words " * 300) for number in range(5)]
        neighbours = [*long, completions[place], replace(completions[place], id="again")]
        alone = RefusalClassifier.load(model_dir, threads=1).predict([completions[place]], tier=tier)
        assert alone == [by_tier[tier][place]]
        assert RefusalClassifier.load(model_dir, threads=1).predict(neighbours, tier=tier)[5] == alone[0]


@pytest.mark.parametrize("threads", [2, 3])
def test_no_verdict_depends_on_threads(
    model_dir: Path, completions: list[Completion], by_tier: dict[str, list[Verdict]], threads: int
) -> None:
    assert RefusalClassifier.load(model_dir, threads=threads).predict(completions) == by_tier["auto"]


@pytest.mark.parametrize("size", [1, 7])
def test_no_verdict_depends_on_the_size_of_chunks(
    model_dir: Path,
    completions: list[Completion],
    by_tier: dict[str, list[Verdict]],
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("refusal_clf.classifier.CHUNK", size)
    assert RefusalClassifier.load(model_dir).predict(completions[:60]) == by_tier["auto"][:60]


def test_a_stream_gives_what_predict_gives(
    model_dir: Path, completions: list[Completion], by_tier: dict[str, list[Verdict]]
) -> None:
    read = count()
    stream = RefusalClassifier.load(model_dir).stream(one for one, _ in zip(completions, read, strict=False))
    assert list(stream) == by_tier["auto"]


def test_two_processes_write_the_same_bytes(samples: Path, tmp_path: Path, model_dir: Path) -> None:
    some, written = tmp_path / "some.jsonl", []
    some.write_text("".join(samples.read_text(encoding="utf-8").splitlines(keepends=True)[:50]), encoding="utf-8")
    for seed, threads in (("1", "1"), ("2", "2")):
        out = tmp_path / seed
        options = ("--out", out, "--model", model_dir, "--threads", threads, "--report", "html")
        done = process("score", some, *options, env={"PYTHONHASHSEED": seed})
        assert done.status == 0, done.err
        written.append({path.name: path.read_bytes() for path in out.iterdir() if path.name != ".lock"})
    assert written[0].keys() == written[1].keys() >= {"verdicts.jsonl", "summary.json", "report.html"}
    assert [name for name in written[0] if written[0][name] != written[1][name]] == []
