"""The shipped model's verdicts on the samples are those that were released, on any machine and release."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from refusal_clf import RefusalClassifier
from refusal_clf.reading import read_completions

GOLDEN = Path(__file__).with_name("golden.json")
TOLERANCE = 0.02
"""Processors round 8-bit products and sums of exponentials in ways of their own."""


@pytest.mark.parametrize("tier", ["fast", "full"])
def test_verdicts_are_those_that_were_released(model_dir: Path, samples: Path, tier: str) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    clf = RefusalClassifier.load(model_dir)
    assert clf.sha256 == golden["model"], "another model: run `python benchmarks/versions.py --write`"
    found = {verdict.id: verdict for verdict in clf.predict(read_completions(samples), tier=tier)}
    assert found.keys() == golden[tier].keys()
    for key, (verdict, p_noncompliance, refusal, p_refusal) in golden[tier].items():
        one = found[key]
        if p_noncompliance is None:
            assert (one.p_noncompliance, one.p_refusal) == (None, None)
            continue
        assert one.p_noncompliance == pytest.approx(p_noncompliance, abs=TOLERANCE)
        assert one.p_refusal == pytest.approx(p_refusal, abs=TOLERANCE)
        if abs(p_noncompliance - 0.5) > TOLERANCE:
            assert (one.verdict == "noncompliance") == (verdict == "noncompliance")
        if abs(p_refusal - 0.5) > TOLERANCE:
            assert (one.refusal == "full_compliance") == (refusal == "full_compliance")


def test_two_runs_agree_bit_for_bit_whatever_the_threads(model_dir: Path, samples: Path) -> None:
    completions = list(read_completions(samples))
    first = RefusalClassifier.load(model_dir, threads=1).predict(completions, tier="full")
    assert RefusalClassifier.load(model_dir, threads=1).predict(completions, tier="full") == first
    assert RefusalClassifier.load(model_dir, threads=4).predict(completions, tier="full") == first
