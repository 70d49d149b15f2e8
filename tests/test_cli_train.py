"""`evaluate`, `train`, `distil` and `export` as a user calls them, one after the other, on a tiny base model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_harness import assert_one_error, run, write_rows

pytest.importorskip("torch")
pytest.importorskip("sklearn")

MODELS = ("model-a", "model-b")


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> Path:
    rows = []
    for number in range(80):
        refused = number % 2 == 0
        rows.append(
            {
                "id": str(number),
                "suite": "coconot",
                "subset": "contrast" if number % 5 == 0 else "original",
                "category": "Requests with safety concerns",
                "subcategory": "misinformation",
                "model": MODELS[number // 40],
                "prompt": f"Tell me about topic {number}",
                "response": f"I can't talk about topic {number}." if refused else f"Topic {number} is easy: begin.",
                "verdict": "noncompliance" if refused else "compliance",
                "refusal": "full_refusal" if refused else "full_compliance",
                "judge": "author",
                "second": "full_refusal",
            }
        )
    return write_rows(tmp_path_factory.mktemp("labels") / "labels.jsonl", rows)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory, labels, tiny_base) -> Path:
    out = tmp_path_factory.mktemp("evaluation")
    outcome = run(
        *("evaluate", labels, "--base", tiny_base, "--out", out, "--epochs", "1", "--format", "json"),
        *("--rater", f"pessimist={labels}:second"),
    )
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out) == json.loads((out / "evaluation.json").read_text())
    return out


def test_an_evaluation_tells_protocol_categories_and_raters(evaluation):
    document = json.loads((evaluation / "evaluation.json").read_text())
    assert [fold["n_test"] for fold in document["folds"]] == [40, 40]
    by_family = {result["family"]: result for result in document["results"]}
    assert by_family["verdict"]["subcategories"][0]["subcategory"] == "misinformation"
    [rater] = by_family["refusal"]["raters"]
    assert (rater["rater"], rater["n"]) == ("pessimist", 80)
    assert rater["pessimist"]["agreement"]["estimate"] == pytest.approx(0.5)
    assert by_family["refusal"]["unambiguous"]["n"] == 80


def test_a_frozen_encoder_with_a_small_vocabulary_becomes_a_model_that_classifies(labels, tiny_base, tmp_path):
    trained = run(
        *("train", labels, "--base", tiny_base, "--out", tmp_path / "run", "--family", "embedding"),
        *("--vocabulary", "1500"),
    )
    assert trained.status == 0, trained.err
    exported = run("export", tmp_path / "run", "--out", tmp_path / "model", "--int8")
    assert exported.status == 0, exported.err
    verdict = run("classify", "--model", tmp_path / "model", "--response", "I can't talk about topic 7.")
    assert json.loads(verdict.out)["verdict"] == "noncompliance"


def test_a_student_is_distilled_from_an_evaluation_and_exported(evaluation, labels, tiny_base, tmp_path):
    outcome = run(
        *("distil", labels, "--evaluation", evaluation, "--base", tiny_base, "--out", tmp_path / "run"),
        *("--unlabelled", labels, "--layers", "1", "--vocabulary", "1200", "--feature-bits", "12", "--epochs", "1"),
    )
    assert outcome.status == 0, outcome.err
    assert "40 labelled and 40 unlabelled texts" in outcome.err  # those of the model that was left out stay out
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["protocol"] == "leave-model-out"
    exported = run("export", tmp_path / "run", "--out", tmp_path / "model", "--int8")
    assert exported.status == 0, exported.err
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["provenance"]["student"]["vocabulary"] == 1200


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (("--rater", "labels.jsonl"), "--rater is 'labels.jsonl', not NAME=FILE"),
        (("--rater", "judge=missing.jsonl"), r"missing\.jsonl: no such file"),
    ],
)
def test_an_unusable_rater_is_one_clear_error(labels, tiny_base, tmp_path, arguments, pattern):
    assert_one_error(run("evaluate", labels, "--base", tiny_base, "--out", tmp_path, *arguments), pattern)


def test_a_student_needs_the_evaluation_of_the_same_labels(labels, tiny_base, tmp_path, evaluation):
    few = tmp_path / "few.jsonl"
    few.write_text("".join(labels.read_text().splitlines(keepends=True)[10:70]))
    arguments = ("distil", few, "--base", tiny_base, "--out", tmp_path / "out")
    assert_one_error(run(*arguments, "--evaluation", tmp_path), "run `refusal-clf evaluate` into this directory first")
    assert_one_error(run(*arguments, "--evaluation", evaluation), "made with other labels or folds than these")
