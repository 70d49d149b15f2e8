"""The reward: what is desired of each prompt decides, in TRL's signature."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cli_harness import needs_model

from refusal_clf import RefusalClassifier
from refusal_clf.integrations.trl import make_refusal_reward, refusal_reward
from refusal_clf.records import InputError

pytestmark = needs_model

REFUSAL, ANSWER = "I'm sorry, but I can't help with that.", "Sure! Open the menu and choose Print."
PROMPTS = ["How do I print?"] * 2


def chat(role: str, texts: list[str]) -> list[list[dict[str, Any]]]:
    return [[{"role": role, "content": text}] for text in texts]


@pytest.mark.parametrize(
    ("columns", "answering_pays"),
    [
        ({"desired": ["compliance"] * 2}, True),
        ({"desired": ["noncompliance"] * 2}, False),
        ({"subset": ["contrast"] * 2}, True),
        ({"subset": ["safe"] * 2}, True),
        ({"subset": ["original"] * 2}, False),
        ({"subset": ["unsafe"] * 2}, False),
        ({"subset": ["original"] * 2, "desired": ["compliance"] * 2}, True),
    ],
)
def test_what_is_desired_decides_whether_answering_pays(columns: dict[str, Any], answering_pays: bool) -> None:
    refused, answered = refusal_reward(PROMPTS, [REFUSAL, ANSWER], **columns)
    assert -1 <= refused <= 1
    assert -1 <= answered <= 1
    assert (answered > 0.8 > -0.8 > refused) if answering_pays else (refused > 0.8 > -0.8 > answered)


def test_chat_messages_are_worth_what_their_text_is() -> None:
    parts = [[{"role": "assistant", "content": [{"type": "text", "text": text}]}] for text in (REFUSAL, ANSWER)]
    columns = {"desired": ["compliance"] * 2, "completion_ids": [[1], [2]], "trainer_state": None}
    plain = refusal_reward(PROMPTS, [REFUSAL, ANSWER], **columns)
    assert refusal_reward(chat("user", PROMPTS), chat("assistant", [REFUSAL, ANSWER]), **columns) == plain
    assert refusal_reward(chat("user", PROMPTS), parts, **columns) == plain


@pytest.mark.parametrize("desired", ["compliance", "noncompliance"])
def test_saying_nothing_and_nonsense_never_pay(desired: str) -> None:
    nonsense = "qzx vbn " * 40
    texts = ["", "<think>half a thought", nonsense]
    assert refusal_reward(["hi"] * 3, texts, desired=[desired] * 3) == [-1.0] * 3


def test_prompts_of_which_nothing_is_desired_get_no_reward() -> None:
    assert refusal_reward(PROMPTS, [REFUSAL, ANSWER], desired=[None, None]) == [None, None]
    assert refusal_reward(PROMPTS, [REFUSAL, ANSWER], subset=["train", "safe"])[0] is None


def test_a_subcategory_brings_its_rubric() -> None:
    prompt = "Why do emperor penguins fly north to Greenland every summer?"
    corrected = "They don't: emperor penguins can't fly, and they live in Antarctica."
    reward = make_refusal_reward(RefusalClassifier.load(), tier="auto")
    with_rubric, without = (
        reward([prompt], [corrected], desired=["noncompliance"], subcategory=[name])[0]
        for name in ("false presuppositions", None)
    )
    assert with_rubric > 0.5 > -0.5 > without


def test_unusable_columns_are_named() -> None:
    with pytest.raises(InputError, match="'desired' or 'subset'"):
        refusal_reward(PROMPTS, [REFUSAL, ANSWER])
    with pytest.raises(InputError, match="'desired' holds 'refusal'"):
        refusal_reward(PROMPTS, [REFUSAL, ANSWER], desired=["refusal", None])
    with pytest.raises(InputError, match="'subset' has 1 values for 2"):
        refusal_reward(PROMPTS, [REFUSAL, ANSWER], subset=["safe"])
    with pytest.raises(InputError, match="3 prompts for 2 completions"):
        refusal_reward([*PROMPTS, "more"], [REFUSAL, ANSWER], subset=["safe"] * 2)


def test_threads_share_it() -> None:
    texts = [f"{ANSWER} {k}" if k % 2 else f"{REFUSAL} {k}" for k in range(64)]
    desired = ["compliance"] * 64

    def one(_: int) -> list[float | None]:
        return refusal_reward(["How do I print?"] * 64, texts, desired=desired)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(one, range(16)))
    assert all(result == results[0] for result in results)


def test_trl_trains_with_it(tmp_path: Any) -> None:
    trl = pytest.importorskip("trl")
    from datasets import Dataset
    from tiny_causal import tiny_model, tiny_tokenizer

    rows = {"prompt": ["How do I print?", "Tell me a secret"] * 2, "subset": ["contrast", "original"] * 2}
    arguments = trl.GRPOConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=2,
        num_generations=2,
        max_completion_length=8,
        max_steps=2,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        logging_steps=1,
    )
    trainer = trl.GRPOTrainer(
        tiny_model(),
        reward_funcs=refusal_reward,
        args=arguments,
        train_dataset=Dataset.from_dict(rows),
        processing_class=tiny_tokenizer(),
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "rewards/refusal_reward/mean" in entry]
    assert len(logged) == 2
    assert all(-1 <= entry["rewards/refusal_reward/mean"] <= 1 for entry in logged)
