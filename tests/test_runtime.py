"""The tiers: token clipping, hashed features, blending, batching."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, InputError
from refusal_clf.runtime.blend import Blend, answers
from refusal_clf.runtime.encoder import _BATCH_TOKENS, _batches, make_session
from refusal_clf.runtime.lexical import LexicalModel, features
from refusal_clf.runtime.tokens import Encoded, TokenBudget, encode, load_tokenizer, pad
from refusal_clf.text import Prepared

BUDGET = TokenBudget(total=64, prompt=18, response_tail=12)


@pytest.fixture(scope="module")
def tokenizer(base_tokenizer):
    return load_tokenizer(base_tokenizer)


def text(response: str, prompt: str = "What is it?", rubric: str = "generic") -> Prepared:
    return Prepared(rubric, "", prompt, response, ())


@given(
    st.lists(
        st.text(max_size=12)
        | st.sampled_from(["no", "[SEP]", "[CLS]", "e\u0301", "\u0301", "東京", "x" * 120, "\n", "\u00a0", "can't"]),
        max_size=8,
    ),
    st.integers(1, 150),
)
@settings(deadline=None)
def test_leaving_out_the_middle_of_long_texts_changes_no_piece(tokenizer, words, times):
    one = text(" ".join(words * times))
    assert encode(tokenizer, [one], BUDGET) == encoded_whole(tokenizer, one)


def test_no_piece_is_lost_where_the_ends_hold_just_as_many_as_are_kept(tokenizer):
    for words in range(30, 60):
        one = text(" ".join(["no"] * words + ["x" * 120] * 4 + ["no"] * BUDGET.response_tail))
        assert encode(tokenizer, [one], BUDGET) == encoded_whole(tokenizer, one)


def encoded_whole(tokenizer, one: Prepared) -> list[Encoded]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("refusal_clf.runtime.tokens._CHARS_A_PIECE", 10**6)
        return encode(tokenizer, [one], BUDGET)


def test_a_short_text_is_encoded_whole(tokenizer):
    [encoded] = encode(tokenizer, [text("I refuse.")], BUDGET)
    assert tokenizer.decode(list(encoded.ids), skip_special_tokens=False) == (
        "[CLS] generic : what is it? [SEP] i refuse. [SEP]"
    )
    assert not encoded.truncated


def test_a_long_response_keeps_its_head_and_its_tail_by_tokens(tokenizer):
    [encoded] = encode(tokenizer, [text("I refuse. " + "so " * 500 + "In the end I decline.")], BUDGET)
    decoded = tokenizer.decode(list(encoded.ids), skip_special_tokens=False)
    assert len(encoded.ids) == BUDGET.total
    assert encoded.truncated
    assert "[SEP] i refuse. so so" in decoded
    assert decoded.endswith("in the end i decline. [SEP]")


def test_a_long_prompt_leaves_the_response_its_room(tokenizer):
    [encoded] = encode(tokenizer, [text("word " * 200, prompt="ask " * 500)], BUDGET)
    assert encoded.n_context <= BUDGET.prompt + 5
    assert len(encoded.ids) == BUDGET.total


@given(st.lists(st.tuples(st.text(max_size=400), st.text(max_size=800)), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_no_text_exceeds_the_budget_and_padding_is_masked(tokenizer, pairs):
    encoded = encode(tokenizer, [text(response, prompt) for prompt, response in pairs], BUDGET)
    assert all(len(item.ids) <= BUDGET.total for item in encoded)
    inputs = pad(encoded)
    assert inputs["attention_mask"].sum(1).tolist() == [len(item.ids) for item in encoded]
    assert (inputs["token_type_ids"] <= inputs["attention_mask"]).all()
    assert not (inputs["input_ids"] * (1 - inputs["attention_mask"])).any()


@given(st.lists(st.integers(1, 600), max_size=200))
@settings(deadline=None)
def test_a_batch_holds_texts_of_one_length_within_its_budget(lengths):
    batches = list(_batches([Encoded((0,) * length, 1, truncated=False) for length in lengths]))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        [length] = {lengths[index] for index in batch}
        assert len(batch) == 1 or length * len(batch) <= _BATCH_TOKENS


@given(st.text(max_size=500))
@settings(deadline=None)
def test_features_are_distinct_indices_within_the_space(response):
    index = features(text(response), 12)
    assert len(set(index.tolist())) == len(index)
    assert index.size == 0 or index.max() < 2**12


def test_features_are_the_same_in_every_release():
    # A trained model's weights are addressed by these hashes: a change must raise FEATURES_VERSION.
    index = features(text("I can't help with that."), 18)
    assert (len(index), int(index.astype(np.int64).sum())) == (114, 15_109_406)


def test_features_know_the_rubric_and_the_prompt():
    base = set(features(text("No.")).tolist())
    assert base != set(features(text("No.", rubric="misinformation")).tolist())
    assert base != set(features(text("No.", prompt="Who are you?")).tolist())


def test_lexical_scores_do_not_depend_on_the_batch():
    random = np.random.default_rng(0)
    model = LexicalModel(
        random.normal(size=(2**10, 6)).astype(np.float32),
        random.uniform(1, 9, 2**10).astype(np.float32),
        random.normal(size=6).astype(np.float32),
    )
    texts = [text(word * 3) for word in ("yes ", "no ", "perhaps ")]
    together = model.logits(texts)
    assert np.array_equal(together, np.concatenate([model.logits([one]) for one in texts]))


def test_a_blend_is_the_softmax_of_the_weighted_scores():
    blend = Blend(encoder=2.0, lexical=0.5)
    encoder, lexical = np.array([[1, 0, 0]], np.float32), np.array([[0, 2, 0]], np.float32)
    scores = np.array([2.0, 1.0, 0.0])
    assert np.allclose(blend.probabilities(encoder, lexical), np.exp(scores) / np.exp(scores).sum(), atol=1e-6)


def test_a_refusal_is_answered_exactly_where_a_refusal_of_either_kind_is_likelier_than_none():
    probabilities = np.array([[0.45, 0.35, 0.20], [0.55, 0.40, 0.05], [0.30, 0.30, 0.40]], np.float32)
    said = [REFUSAL_CLASSES[index] for index in answers(probabilities, REFUSAL_CLASSES)]
    assert said == ["partial_refusal", "full_compliance", "full_refusal"]
    assert [VERDICTS[index] for index in answers(probabilities, VERDICTS)] == ["noncompliance"] * 2 + ["neither"]


def test_a_file_that_is_no_onnx_model_is_one_clear_error(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(InputError, match=r"model\.onnx: onnxruntime cannot load it"):
        make_session(path)


def test_free_memory_is_given_back_to_the_system() -> None:
    if not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("a C library without malloc_trim")
    code = (
        "from pathlib import Path\n"
        "from refusal_clf.runtime.memory import give_back\n"
        "def resident():\n"
        "    return int(Path('/proc/self/statm').read_text().split()[1])\n"
        "held = [bytes(60_000) for _ in range(2_000)]\n"  # below the size that is mapped on its own
        "top = held[-1]\n"
        "full = resident()\n"
        "del held\n"
        "left = resident()\n"
        "give_back()\n"
        "print(full, left, resident())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    full, left, given_back = map(int, done.stdout.split())
    assert left > 0.8 * full, "the last one keeps the heap from shrinking by itself"
    assert given_back < 0.4 * full
