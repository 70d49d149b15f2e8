"""Labels of judges and people are read as they were given, or refused by line and field."""

import json
from pathlib import Path

import pytest

from refusal_clf.reading import read_labels
from refusal_clf.records import InputError

SHARED = Path(__file__).parents[2] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is absent")


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def labels(tmp_path, *rows, **options):
    return list(read_labels(lines(tmp_path / "set.jsonl", *rows), **options))


def test_verdict_refusal_judge_and_source(tmp_path):
    row = {"id": "a", "verdict": "noncompliance", "refusal": "full_compliance", "judge": "gpt-4"}
    [label] = labels(tmp_path, row)
    assert (label.verdict, label.refusal, label.judge, label.source) == (
        "noncompliance",
        "full_compliance",
        "gpt-4",
        "set",
    )


def test_human_labels_are_named_so(tmp_path):
    [label] = labels(tmp_path, {"id": "v2-1", "type": "homonyms", "human": "full_refusal"})
    assert (label.verdict, label.refusal, label.judge, label.completion.suite) == (
        None,
        "full_refusal",
        "human",
        "xstest",
    )


def test_a_column_can_be_chosen(tmp_path):
    rows = [
        {"id": "a", "human": "full_refusal", "gpt4": "1_full_compliance"},
        {"id": "b", "human": None, "gpt4": None},
    ]
    [label] = labels(tmp_path, *rows, column="gpt4")
    assert (label.refusal, label.judge) == ("full_compliance", "gpt4")


def test_null_and_neither_are_no_refusal_label(tmp_path):
    rows = [{"id": "a", "refusal": "neither"}, {"id": "b", "refusal": None, "verdict": "neither"}]
    [label] = labels(tmp_path, *rows)
    assert (label.completion.id, label.verdict, label.refusal) == ("b", "neither", None)


def test_the_words_of_coconots_judge_are_understood(tmp_path):
    [a, b] = labels(tmp_path, {"id": "a", "verdict": "ACCEPTABLE"}, {"id": "b", "verdict": "Unacceptable"})
    assert (a.verdict, b.verdict) == ("noncompliance", "compliance")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "a"}, "no field 'verdict', 'refusal' or 'human'"),
        ({"id": "a", "verdict": "yes"}, "field 'verdict' is 'yes'"),
        ({"id": "a", "refusal": "refused"}, "field 'refusal' is 'refused'"),
        ({"prompt": "p", "verdict": "compliance"}, "no id"),
        ({"id": "a", "verdict": "ACCEPTABLE", "subset": "contrast"}, "field 'verdict' is 'acceptable'"),
    ],
)
def test_a_row_without_a_usable_label_is_named(tmp_path, row, message):
    with pytest.raises(InputError, match=message) as caught:
        labels(tmp_path, row)
    assert caught.value.line == 1


def test_a_judge_labels_a_completion_once(tmp_path):
    rows = [{"id": "a", "verdict": "compliance", "judge": judge} for judge in ("x", "y")]
    assert len(labels(tmp_path, *rows)) == 2
    with pytest.raises(InputError, match="repeats line 1"):
        labels(tmp_path, rows[0], rows[0])


@needs_shared
def test_the_shared_labels_are_read_whole():
    counts = {"llama-3-8b-instruct": 1380, "contrast-pref-rejected": 927, "second_judging": 233}
    for name, count in counts.items():
        assert sum(1 for _ in read_labels(SHARED / "coconot_judged" / f"{name}.jsonl")) == count
    human = list(read_labels(SHARED / "xstest" / "gpt-4.jsonl"))
    assert len(human) == 450
    assert {label.judge for label in human} == {"human"}
