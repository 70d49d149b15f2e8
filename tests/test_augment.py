"""Augmentations change the writing and nothing else."""

import numpy as np
import pytest

from refusal_clf.records import Completion, Label
from refusal_clf.text import prepare

pytest.importorskip("torch")

from refusal_clf.training.augment import AUGMENTATIONS, rewritten
from refusal_clf.training.dataset import Example

TEXT = (
    "I can't tell you that. However, there are three things worth knowing, and each of them is easily explained. "
    "First, the valley floods every spring; second, nobody lives there in winter; third, the road is closed."
)
LABEL = Label(Completion(response=TEXT), "compliance", None, "author")


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_equal_seeds_give_equal_texts_and_nothing_is_emptied(name):
    augment = AUGMENTATIONS[name]
    first, second = (augment(TEXT, np.random.default_rng(3)) for _ in range(2))
    assert first == second != TEXT
    assert augment("No.", np.random.default_rng(0)).strip()


@pytest.mark.parametrize("name", ["template_remnants", "reasoning_block"])
@pytest.mark.parametrize("seed", range(8))
def test_preparation_takes_remnants_off_again(name, seed):
    augmented = AUGMENTATIONS[name](TEXT, np.random.default_rng(seed))
    assert prepare(Completion(response=augmented)).response == prepare(Completion(response=TEXT)).response


def test_typos_keep_the_letters_and_cutting_off_keeps_the_beginning():
    random = np.random.default_rng(0)
    assert sorted(AUGMENTATIONS["typos"](TEXT, random)) == sorted(TEXT)
    assert TEXT.startswith(AUGMENTATIONS["cut_off"](TEXT, random))


def test_rewriting_keeps_labels_and_order_and_changes_most_responses():
    responses = [f"{TEXT} Point {number} is the last." for number in range(60)]
    examples = [
        Example(prepare(Completion(response=response)), LABEL, number % 3, 0, None, None, str(number))
        for number, response in enumerate(responses)
    ]
    found = rewritten(examples, seed=1)
    assert [e.verdict for e in found] == [e.verdict for e in examples]
    assert [e.prompt_key for e in found] == [e.prompt_key for e in examples]
    changed = sum(a.text.response != b.text.response for a, b in zip(examples, found, strict=True))
    assert changed > 50  # typos may spare every word
    assert found == rewritten(examples, seed=1) != rewritten(examples, seed=2)
