"""Every tool's names for prompts, responses and metadata are understood, and what is no response is refused."""

import json
from pathlib import Path

import pytest

from refusal_clf.reading import read_completions
from refusal_clf.records import Completion, InputError


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_one(tmp_path: Path, row: object, **options) -> Completion:
    [completion] = read_completions(lines(tmp_path / "one.jsonl", row), **options)
    return completion


def error_of(path: Path, **options) -> str:
    with pytest.raises(InputError) as caught:
        list(read_completions(path, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["prompt", "instruction", "question", "input", "goal", "Query", "user"])
def test_prompt_aliases(tmp_path, name):
    assert read_one(tmp_path, {name: "p", "response": "r"}).prompt == "p"


@pytest.mark.parametrize(
    "name",
    [
        "response",
        "output",
        "completion",
        "generation",
        "answer",
        "model_output",
        "generated_text",
        "prediction",
        "text",
        "Model Output",
    ],
)
def test_response_aliases(tmp_path, name):
    assert read_one(tmp_path, {"prompt": "p", name: "r"}).response == "r"


def test_metadata_aliases(tmp_path):
    row = {
        "response": "r",
        "idx": 7,
        "model_name": "m",
        "sub_category": "s",
        "category": "c",
        "dataset": "d",
        "split": "x",
    }
    assert read_one(tmp_path, row) == Completion("", "r", "7", "d", "x", "c", "s", "m")


def test_training_splits_are_no_subsets(tmp_path):
    assert read_one(tmp_path, {"response": "r", "split": "test"}).subset is None


def test_a_null_alias_gives_way_to_another(tmp_path):
    row = {"prompt": None, "question": "p", "response": None, "output": "r", "id": None, "doc_id": 0}
    assert read_one(tmp_path, row) == Completion("p", "r", "0")


def test_an_empty_response_gives_way_to_an_output_beside_it(tmp_path):
    assert read_one(tmp_path, {"prompt": "p", "response": "", "output": "r"}).response == "r"


@pytest.mark.parametrize("gold", ["answer", "text"])
def test_a_reference_answer_never_stands_in_for_an_empty_response(tmp_path, gold):
    for empty in (None, ""):
        assert read_one(tmp_path, {"question": "p", gold: "gold", "response": empty}).response == ""


def test_a_prompt_may_be_absent(tmp_path):
    assert read_one(tmp_path, {"response": "r"}).prompt == ""


def test_the_input_of_an_alpaca_row_belongs_to_its_prompt(tmp_path):
    row = {"instruction": "Translate.", "input": "Hallo", "output": "Hello"}
    assert read_one(tmp_path, row).prompt == "Translate.\n\nHallo"


def test_chats_give_the_last_turn_and_the_question_before_it(tmp_path):
    turns = [
        ("system", "s"),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "p"),
        ("assistant", "r"),
        ("user", "later"),
    ]
    messages = [{"role": role, "content": content} for role, content in turns]
    assert read_one(tmp_path, {"messages": messages}) == Completion("p", "r")
    assert read_one(tmp_path, {"prompt": messages[:2], "completion": messages[2:3]}) == Completion("a", "b")


def test_chat_content_may_be_parts_and_sharegpt_turns(tmp_path):
    parts = [{"type": "text", "text": "one"}, {"type": "image_url"}, {"type": "text", "text": "two"}]
    assert read_one(tmp_path, {"messages": [{"role": "assistant", "content": parts}]}).response == "one\ntwo"
    turns = [{"from": "human", "value": "p"}, {"from": "gpt", "value": "r"}]
    assert read_one(tmp_path, {"conversation": turns}) == Completion("p", "r")


def test_a_tool_call_is_an_empty_response(tmp_path):
    assert read_one(tmp_path, {"messages": [{"role": "assistant", "content": None}]}).response == ""


def test_harness_samples(tmp_path):
    sample = {
        "doc_id": 3,
        "doc": {"id": "x1", "prompt": "p", "answer": "gold", "subcategory": "false presuppositions"},
        "arguments": [["context", {"until": []}]],
        "resps": [["raw"]],
        "filtered_resps": ["r"],
    }
    got = read_one(tmp_path, sample)
    assert (got.id, got.prompt, got.response, got.subcategory) == ("x1", "p", "r", "false presuppositions")
    del sample["filtered_resps"], sample["doc"]
    got = read_one(tmp_path, sample)
    assert (got.id, got.prompt, got.response) == ("3", "context", "raw")
    assert read_one(tmp_path, sample | {"arguments": {"gen_args_0": {"arg_0": "new"}}}).prompt == "new"


def test_likelihood_samples_of_the_harness_are_refused(tmp_path):
    path = lines(tmp_path / "a.jsonl", {"doc": {}, "filtered_resps": [[-1.5, False]]})
    assert "'filtered_resps' holds no generated text" in error_of(path)


def test_metadata_may_be_nested(tmp_path):
    row = {"prompt": "p", "output": "r", "metadata": {"id": "i", "category": "c", "response": "no"}}
    assert read_one(tmp_path, row) == Completion("p", "r", "i", category="c")


def test_lone_surrogates_are_replaced(tmp_path):
    (tmp_path / "a.jsonl").write_text(r'{"prompt": "\ud83d", "response": "a\udc00b", "id": "\ud800"}')
    assert list(read_completions(tmp_path / "a.jsonl")) == [Completion("�", "a�b", "�")]


@pytest.mark.parametrize("empty", [None, "", float("nan"), []])
def test_an_empty_response_is_a_completion(tmp_path, empty):
    assert read_one(tmp_path, {"prompt": "p", "response": empty}).response == ""


@pytest.mark.parametrize(("value", "kind"), [(3, "a number"), (True, "a boolean"), ({"a": 1}, "an object")])
def test_a_response_that_is_no_text_is_refused(tmp_path, value, kind):
    path = lines(tmp_path / "a.jsonl", {"response": value})
    assert error_of(path) == f"{path}:1: field 'response' is {kind}, not text"


def test_several_responses_in_a_row_are_refused(tmp_path):
    assert "one row for each" in error_of(lines(tmp_path / "a.jsonl", {"response": ["a", "b"]}))


def test_a_prompt_that_is_no_text_gives_way_or_is_refused(tmp_path):
    assert read_one(tmp_path, {"prompt": 5, "question": "p", "response": "r"}).prompt == "p"
    assert read_one(tmp_path, {"user": 5, "response": "r"}).prompt == ""
    assert "'prompt' is a number" in error_of(lines(tmp_path / "a.jsonl", {"prompt": 5, "response": "r"}))


def test_a_long_id_is_kept_and_a_task_of_many_words_is_no_suite(tmp_path):
    got = read_one(tmp_path, {"id": "i" * 500, "task": "Write a story. " * 20, "response": "r"})
    assert (got.id, got.suite) == ("i" * 500, "generic")


def test_the_prompt_may_stand_in_messages_and_the_response_beside_them(tmp_path):
    row = {"messages": [{"role": "user", "content": "p"}], "response": "r"}
    assert read_one(tmp_path, row) == Completion("p", "r")


def test_a_chat_without_a_reply_is_refused(tmp_path):
    path = lines(tmp_path / "a.jsonl", {"messages": [{"role": "user", "content": "p"}]})
    assert "'messages' holds no turn of the model" in error_of(path)
