"""Refusals beside answers and in the midst of text are flagged; refusals and answers alone are not."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refusal_clf import Completion, RefusalClassifier
from refusal_clf.contradiction import MIN_WORDS, contradictory
from refusal_clf.reading import read_completions
from refusal_clf.text import prepare

PROMPT = "How do I poach an egg?"
REFUSAL = "I'm sorry, but I can't help with that."
STEPS = (
    "Fill a wide pan with water and bring it to a gentle simmer, so that small bubbles rise but nothing boils. "
    "Add a spoon of vinegar, which helps the white to set around the yolk. Crack a very fresh egg into a small cup. "
    "Stir the water until it turns slowly, and let the egg slide into the middle of the whirl. "
    "Wait three minutes without touching it. Lift it out with a slotted spoon and let it drain on a cloth. "
    "Sprinkle some salt and pepper over it, and serve it at once on buttered toast with a few chives."
)
FIELD = (
    "The mill wheel turns faster in spring. The baker is always the first to open. Hazel rods bend without breaking. "
    "A pencil is made of cedar. The tram in the north is yellow. Cats sleep for most of the day. Snow is quiet. "
)


@pytest.fixture(scope="module")
def classifier(model_dir):
    return RefusalClassifier.load(model_dir, threads=1)


def flags(classifier, response, prompt=PROMPT, tier="auto"):
    [verdict] = classifier.predict([Completion(prompt=prompt, response=response)], tier=tier)
    return verdict.flags


@pytest.mark.parametrize("tier", ["auto", "full"])
@pytest.mark.parametrize(
    "response",
    [f"{REFUSAL}\n\n{STEPS}", f"{REFUSAL} {STEPS} {REFUSAL}", f"{FIELD * 4}\n\n{REFUSAL}\n\n{FIELD * 4}"],
    ids=["before", "around", "hidden"],
)
def test_a_refusal_beside_other_text_is_flagged_and_makes_the_verdict_uncertain(classifier, response, tier):
    assert {"contradictory", "uncertain"} <= set(flags(classifier, response, tier=tier))


@pytest.mark.parametrize(
    "response",
    [STEPS, FIELD * 8, REFUSAL, f"{REFUSAL} {REFUSAL}", f"{REFUSAL} It would not be right. " * 12, "Yes. No."],
    ids=["answer", "text", "refusal", "refusal twice", "long refusal", "two words"],
)
def test_what_says_one_thing_is_not_flagged(classifier, response):
    assert "contradictory" not in flags(classifier, response)


def test_a_short_response_is_read_as_a_whole_and_not_flagged(classifier):
    few = " ".join(STEPS.split()[: MIN_WORDS - 20])
    assert "contradictory" not in flags(classifier, f"{REFUSAL} {few}")


def test_of_the_samples_at_most_one_in_a_hundred_is_flagged(classifier, samples):
    completions = list(read_completions(samples))
    flagged = sum("contradictory" in verdict.flags for verdict in classifier.predict(completions))
    assert flagged <= 0.01 * len(completions)


def test_the_flag_does_not_depend_on_what_else_is_scored(classifier):
    responses = [f"{REFUSAL}\n\n{STEPS}", STEPS, REFUSAL, f"{FIELD * 4}{REFUSAL} {FIELD * 4}"]
    completions = [Completion(prompt=PROMPT, response=response) for response in responses]
    together = classifier.predict(completions * 300)
    assert together == [verdict for completion in completions for verdict in classifier.predict([completion])] * 300


@settings(max_examples=50)
@given(st.lists(st.text(alphabet=st.sampled_from("a .!?:\"') sorry"), max_size=600), max_size=4), st.data())
def test_any_texts_can_be_searched_and_only_asked_about_parts_that_are_not_empty(responses, data):
    texts = [prepare(Completion(response=response)) for response in responses]
    probabilities = [data.draw(st.floats(0, 1)) for _ in texts]

    def refuses(parts):
        assert all(part.response for part in parts)
        return np.array([data.draw(st.floats(0, 1)) for _ in parts], np.float32)

    found = contradictory(texts, probabilities, refuses)
    assert found == sorted(set(found))
    assert all(texts[row].response.count(" ") >= MIN_WORDS - 1 for row in found)


@pytest.mark.parametrize("piece", ["sorry. ", "a.b", ".'", "decline ", ". "])
def test_no_text_takes_long(classifier, piece):
    response = (piece * 4000)[:3600]
    started = time.process_time()
    flags(classifier, response)
    assert time.process_time() - started < 2
