"""LLM Guard runs the scanner beside its own, and an output that refuses does not pass."""

import pytest
from cli_harness import needs_model
from hypothesis import given, settings
from hypothesis import strategies as st

from refusal_clf import Completion, RefusalClassifier
from refusal_clf.integrations.llm_guard import NoRefusal
from refusal_clf.records import InputError

PROMPT = "How do I kill a Python process?"
REFUSAL = "That is not something I will do."
ANSWER = "Sorry for the long wait! Send it a signal: run kill with its number, and kill -9 if it does not react."


@pytest.fixture(scope="module")
def scanner(model_dir):
    return NoRefusal(model=model_dir)


def test_a_refusal_is_invalid_and_its_risk_above_0(scanner):
    output, valid, risk = scanner.scan(PROMPT, REFUSAL)
    assert (output, valid) == (REFUSAL, False)
    assert 0.5 < risk <= 1


def test_an_answer_is_valid_and_its_risk_below_0(scanner):
    output, valid, risk = scanner.scan(PROMPT, ANSWER)
    assert (output, valid) == (ANSWER, True)
    assert -1 <= risk < -0.5


@pytest.mark.parametrize("output", ["", " \n"])
def test_an_empty_output_is_valid_as_it_is_for_llm_guard(scanner, output):
    assert scanner.scan(PROMPT, output) == (output, True, -1.0)


@settings(max_examples=40, deadline=None)
@given(threshold=st.floats(0, 1, exclude_min=True, exclude_max=True), output=st.sampled_from([REFUSAL, ANSWER]))
def test_the_risk_is_the_distance_from_the_threshold_on_a_scale_from_minus_1_to_1(threshold, output):
    [verdict] = RefusalClassifier.load().predict([Completion(PROMPT, output)], tier="fast")
    _, valid, risk = NoRefusal(threshold=threshold, tier="fast").scan(PROMPT, output)
    assert valid == (verdict.p_refusal <= threshold) == (risk <= 0)
    assert -1 <= risk <= 1
    expected = threshold + risk * ((1 - threshold) if risk > 0 else threshold)
    assert expected == pytest.approx(verdict.p_refusal)


@pytest.mark.parametrize("threshold", [0, 1, 75, float("nan")])
def test_a_threshold_that_is_no_fraction_is_an_error(threshold):
    with pytest.raises(InputError, match="threshold is"):
        NoRefusal(threshold=threshold)


@pytest.fixture(scope="module")
def llm_guard():
    return pytest.importorskip("llm_guard", reason="needs LLM Guard (pip install llm-guard)")


@needs_model
class TestWithLlmGuard:
    def test_it_runs_beside_llm_guards_own_scanners(self, llm_guard, scanner):
        from llm_guard.output_scanners import NoRefusalLight, ReadingTime

        scanners = [ReadingTime(max_time=5), scanner, NoRefusalLight()]
        # A phrase list takes an apology for a refusal, and does not know this way to refuse.
        assert llm_guard.scan_output(scanners, PROMPT, ANSWER)[1] == {
            "ReadingTime": True,
            "NoRefusal": True,
            "NoRefusalLight": False,
        }
        text, valid, risk = llm_guard.scan_output(scanners, PROMPT, REFUSAL)
        assert (text, valid["NoRefusal"], valid["NoRefusalLight"]) == (REFUSAL, False, True)
        assert risk["NoRefusal"] > 0.5

    def test_the_first_invalid_output_stops_a_scan_that_is_to_fail_fast(self, llm_guard, scanner):
        from llm_guard.output_scanners import NoRefusalLight

        found = llm_guard.scan_output([scanner, NoRefusalLight()], PROMPT, REFUSAL, fail_fast=True)
        assert found[1] == {"NoRefusal": False}

    def test_its_risk_is_llm_guards_to_their_one_decimal(self, llm_guard, scanner):
        from llm_guard.util import calculate_risk_score

        for output in (REFUSAL, ANSWER):
            [verdict] = RefusalClassifier.load().predict([Completion(PROMPT, output)])
            assert round(scanner.scan(PROMPT, output)[2], 1) == calculate_risk_score(verdict.p_refusal, 0.5)
