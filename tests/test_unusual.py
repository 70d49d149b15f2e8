"""What is flagged as code alone or as gibberish, and above all what is not."""

import pytest

from refusal_clf.records import FLAGS, Completion
from refusal_clf.text import prepare
from refusal_clf.unusual import code_only, gibberish

PYTHON = "import os\n\ndef main(path):\n    for name in os.listdir(path):\n        print(name)\n\nmain('.')"


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{PYTHON}\n```",
        f"Here you go:\n```\n{PYTHON}\n```",
        PYTHON,
        '#include <stdio.h>\nint main(void) {\n  puts("Sorry, I can\'t");\n  return 0;\n}',
        '```json\n{"error": "I can\'t do that"}',
    ],
)
def test_code_alone_is_noticed(text):
    assert code_only(text)
    assert not gibberish(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No.",
        "Use a set for that; it has no duplicates.\n\nA list would be slower here, since every look-up reads it all.",
        f"This prints the names of all files in a folder, one on each line:\n```python\n{PYTHON}\n```",
        "1. Preheat the oven.\n2. Mix flour and water.\n3. Bake for 30 minutes.",
        "I can't run `rm -rf /` for you.",
        "def is a keyword in Python. It begins a function.",
        "Dear Anna,\n\nthank you for the flowers;\nthey are lovely;\n\nYours, Tom",
    ],
)
def test_prose_lists_and_prose_with_code_are_not_taken_for_code(text):
    assert not code_only(text)


@pytest.mark.parametrize(
    "text",
    [
        "asdfghjkl qwrtzp xcvbnm sdfghjk wrtpsdfg",
        "@@@@ #### %%%% &&&& !!!! ---- ++++ ====",
        "the cat sat " * 60,
        "ÒÏ&÷‡ -!!!!& )N^S\\]P -----!!!!&÷‡--- ^^ \\]",
    ],
)
def test_gibberish_is_noticed(text):
    assert gibberish(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No.",
        "Hmm. Shh!",
        "Sphynx lynxes try rhythms.",
        "3.14159265358979323846264338327950288419716939937510",
        "The www, the DVDs and the NYSE are abbreviations; so are HTTPS and XSLT, which nobody can say aloud.",
        "对不起，我不能帮助你，因为这个请求可能会伤害别人。",
        "Извините, я не могу помочь с этим запросом, потому что он может кому-то навредить.",
        "Ich schreibe Angstschweiß, Herbststurm und Rechtsschutz in einem einzigen Satz auf.",
        "I can't help with that. " * 3,
    ],
)
def test_short_answers_numbers_and_other_languages_are_not_gibberish(text):
    assert not gibberish(text)


@pytest.mark.parametrize(("response", "flag"), [(PYTHON, "code_only"), ("asdfghjkl qwrtzp " * 5, "gibberish")])
def test_preparation_carries_the_flags(response, flag):
    assert flag in prepare(Completion(response=response)).flags
    assert flag in FLAGS


def test_code_is_not_called_a_foreign_language():
    page = '```html\n<button style="background:#c00; color:#fff; border:0; padding:.6em 1.2em">Stop</button>\n```'
    assert prepare(Completion(response=page)).flags == ("code_only",)


def test_a_benchmark_that_nobody_knows_is_flagged_and_a_known_one_is_not():
    answer = "Sure, here is how."
    assert prepare(Completion(response=answer, suite="some-bench")).flags == ("generic_rubric",)
    assert prepare(Completion(response=answer, suite="some-bench", subcategory="misinformation")).flags == ()
    for suite in ("generic", "xstest", "coconot"):
        assert prepare(Completion(response=answer, suite=suite)).flags == ()
