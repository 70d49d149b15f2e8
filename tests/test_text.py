"""Text preparation: what is stripped, what is kept, what is flagged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusal_clf import Completion
from refusal_clf.language import mostly_not_english
from refusal_clf.text import HEAD_CHARS, TAIL_CHARS, normalise, prepare, strip_artifacts

ANSWER = "Paris is the capital of France."


@pytest.mark.parametrize(
    "raw",
    [
        f"{ANSWER}<|im_end|>",
        f"<|im_start|>assistant\n{ANSWER}<|im_end|>\n<|im_start|>user\nAnd of Spain?",
        f"<|start_header_id|>assistant<|end_header_id|>\n\n{ANSWER}<|eot_id|>",
        f"<s>[INST] What is the capital? [/INST] {ANSWER}</s>",
        f"[INST] <<SYS>>Be kind.<</SYS>> What is the capital? [/INST]{ANSWER}",
        f"<start_of_turn>model\n{ANSWER}<end_of_turn>",
        f"[REFUSE] {ANSWER}",
        f"[Respond] {ANSWER}",
        f"[Humanizing requests] {ANSWER}",
        f"<|refusal|>{ANSWER}",
        f"<think>The user wants the capital. I can't refuse.</think>{ANSWER}",
        f"The user wants the capital.\n</think>\n\n{ANSWER}",
        f"<reasoning>\nfirst\nsecond\n</reasoning>\n{ANSWER}",
        f"assistant\n\n{ANSWER}",
        f"### Response: {ANSWER}",
        f"{ANSWER}<｜end▁of▁sentence｜>",
        f"{ANSWER}\n### Instruction: something else",
    ],
)
def test_template_remnants_are_removed_and_flagged(raw):
    prepared = prepare(Completion(prompt="", response=raw))
    assert prepared.response == ANSWER
    assert "template_artifacts" in prepared.flags


@pytest.mark.parametrize(
    "text",
    [
        ANSWER,
        "[Your Name]\n[Date]\nDear sir, I refuse to pay.",
        "Use `a[0]` and <b>bold</b>; 3 < 4 > 2.",
        "The assistant: a play in two acts.",
        "Assistants refuse. [1] See the safety manual.",
        "The user <user@example.org> wrote to me.",
    ],
)
def test_ordinary_text_is_left_alone(text):
    assert strip_artifacts(text) == (text, False)


def test_reasoning_that_never_ends_leaves_an_empty_answer():
    prepared = prepare(Completion(response="<think>I should weigh whether to refuse"))
    assert prepared.response == ""
    assert set(prepared.flags) == {"empty", "template_artifacts"}


def test_reasoning_longer_than_any_answer_is_cut_before_the_length_is_bounded():
    prepared = prepare(Completion(response="<think>" + "I cannot help. " * 20_000 + "</think>" + ANSWER))
    assert prepared.response == ANSWER


def test_a_refusal_at_either_end_of_a_long_response_is_kept():
    prepared = prepare(Completion(response="I refuse. " + "filler words " * 400_000 + " In the end I decline."))
    assert prepared.response.startswith("I refuse.")
    assert prepared.response.endswith("In the end I decline.")
    assert len(prepared.response) <= HEAD_CHARS + TAIL_CHARS + 1
    assert "truncated_input" in prepared.flags


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("I can’t\u200b do\u00a0that…", "I can't do that..."),
        ("“Ｎｏ”", '"No"'),
        ("a\x00b\x1b[31m\r\n\tc", "a b [31m c"),
        ("\u202eevil\u202c", "evil"),
        ("\ud800lone", "lone"),
    ],
)
def test_unicode_and_white_space_are_normalised(raw, expected):
    assert normalise(raw) == expected


@given(st.text())
def test_normalising_twice_changes_nothing_more(text):
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_can_be_prepared(prompt, response):
    prepared = prepare(Completion(prompt=prompt, response=response))
    assert ("empty" in prepared.flags) == (prepared.response == "")
    prepared.response.encode("utf-8")


@pytest.mark.parametrize(
    ("subset", "kept"), [("contrast", "contrast"), ("original", "original"), ("safe", ""), (None, "")]
)
def test_only_coconots_subsets_reach_the_model(subset, kept):
    assert prepare(Completion(response=ANSWER, subset=subset)).subset == kept


def test_an_unknown_subcategory_falls_back_to_the_generic_rubric_with_a_flag():
    known = prepare(Completion(response=ANSWER, subcategory="False_Presuppositions"))
    unknown = prepare(Completion(response=ANSWER, subcategory="time travel"))
    assert (known.rubric, known.flags) == ("false presuppositions", ())
    assert (unknown.rubric, unknown.flags) == ("generic", ("generic_rubric",))


@pytest.mark.parametrize(
    "text",
    [
        "Lo siento, pero no puedo ayudarte con esa petición porque no tengo acceso a la red.",
        "Ich kann Ihnen dabei leider nicht helfen, weil es nicht erlaubt ist.",
        "Je ne peux pas vous aider avec cette demande.",
        "对不起，我不能帮助你。",
        "申し訳ありませんが、お手伝いできません。",
        "Извините, я не могу помочь с этим запросом.",
    ],
)
def test_other_languages_are_noticed(text):
    assert mostly_not_english(text)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "Sure! Here are five recipes for paella de la casa, with rice and saffron.",
        "No.",
        "",
        "def f(x): return x + 1",
        "La Paz, Los Angeles and El Paso are the three cities that you asked about.",
    ],
)
def test_english_and_code_are_not_taken_for_other_languages(text):
    assert not mostly_not_english(text)
