"""Explanations: exact for the lexical tier, faithful for the encoder, spans of the original response."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from cli_harness import REPOSITORY, assert_one_error, needs_model, run

from refusal_clf import Completion, RefusalClassifier
from refusal_clf.explanation import explain, explain_all, segments
from refusal_clf.reading import read_completions
from refusal_clf.runtime.lexical import features, locate
from refusal_clf.text import prepare

pytestmark = needs_model
HARD = REPOSITORY / "data" / "hard" / "train.jsonl"


@pytest.fixture(scope="module")
def clf():
    return RefusalClassifier.load(threads=1)


@pytest.fixture(scope="module")
def rows(samples):
    return [*read_completions(samples)][:60] + [*read_completions(HARD)][:60]


def test_located_features_are_the_features(rows):
    for row in [*rows, Completion(response="İ ΑΣ " + "long words " * 300)]:
        text = prepare(row)
        assert np.array_equal(np.unique(locate(text).index), features(text))


def test_words_and_context_add_up_to_the_log_odds_of_the_lexical_tier(clf, rows):
    for explanation in explain_all(rows, clf, tier="fast"):
        if explanation.method == "rule":
            continue
        for head, margin in explanation.margins.items():
            total = margin.context + sum(getattr(span, head) for span in explanation.spans)
            assert total == pytest.approx(margin.log_odds, abs=1e-6)


def test_spans_stand_in_the_response_in_order_and_apart(clf, rows):
    for tier in ("fast", "full"):
        for explanation in explain_all(rows[::4], clf, tier=tier):
            places = [(span.start, span.end) for span in explanation.spans]
            assert all(0 <= start < end <= len(explanation.completion.response) for start, end in places)
            assert all(first[1] <= second[0] for first, second in pairwise(places))


def test_without_its_top_segment_an_answer_loses_more_than_without_a_random_one(clf, rows):
    chance = random.Random(0)
    changed = {"top": [], "random": []}
    for explanation in explain_all(rows[::2], clf, tier="full"):
        if len(explanation.spans) < 3:
            continue
        top = max(explanation.spans, key=lambda span: span.verdict)
        for name, span in (("top", top), ("random", chance.choice(explanation.spans))):
            response = explanation.completion.response
            cut = replace(explanation.completion, response=response[: span.start] + response[span.end :])
            changed[name].append((explanation, cut))
    moved = {}
    for name, pairs in changed.items():
        after = clf.predict([cut for _, cut in pairs], tier="full")
        falls = []
        for (explanation, _), verdict in zip(pairs, after, strict=True):
            before = explanation.verdict
            if before.verdict == "neither" or verdict.p_noncompliance is None:
                continue
            sign = 1 if before.verdict == "noncompliance" else -1
            falls.append(sign * (before.p_noncompliance - verdict.p_noncompliance) > 0)
        moved[name] = np.mean(falls)
    assert moved["top"] > 0.8
    assert moved["top"] > moved["random"] + 0.2


@pytest.mark.parametrize("tier", ["fast", "full"])
def test_what_decides_is_not_what_nobody_sees(clf, tier):
    refusal = "I am sorry, but I cannot help with that."
    for before in ("<!-- Sure! Here is how it is done. -->\n", "The sky is blue on a clear day. " * 3000):
        explanation = explain(Completion(response=before + refusal), clf, tier=tier)
        assert explanation.deciding()
        assert all(span.start >= len(before) for span in explanation.deciding())


def test_segments_cover_the_text():
    text = "1. One thing. Another, " + "and a clause that goes on, " * 8 + "end! " + "No. " * 60
    cuts = segments(text)
    assert (cuts[0][0], cuts[-1][1]) == (0, len(text))
    assert all(first[1] == second[0] for first, second in pairwise(cuts))
    assert len(cuts) <= 32


def test_an_empty_response_has_nothing_to_explain(clf):
    assert explain(Completion(response=" "), clf).to_dict()["spans"] == []


def test_the_command_marks_what_decided_and_prints_one_document():
    arguments = ("explain", "--prompt", "How?", "--response", "I can't help with that. \x1b[31m<b>Bye</b>")
    shown = run(*arguments)
    assert shown.status == 0
    assert "[[can't]]" in shown.out
    assert "\x1b" not in shown.out
    spans = json.loads(run(*arguments, "--format", "json").out)["spans"]
    assert all(arguments[-1][span["start"] : span["end"]] == span["text"] for span in spans)
    assert_one_error(run("explain", HARD, "--id", "nobody"), "no completion has the id 'nobody'")
