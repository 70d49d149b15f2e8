"""`refusal-clf calibrate` and `plan`: what they print and write, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_harness import ROWS, assert_one_error, needs_model, run, write_rows

RANDOM = np.random.default_rng(4)
N = 300
PROBABILITIES = RANDOM.beta(0.3, 0.3, N).clip(0.001, 0.999).round(4)
TRUTH = np.where(RANDOM.uniform(size=N) < PROBABILITIES, "noncompliance", "compliance").tolist()
LABELLED = RANDOM.choice(N, 120, replace=False).tolist()


def verdict(at: int) -> dict[str, Any]:
    p = float(PROBABILITIES[at])
    return {
        "id": f"r{at}",
        "suite": "coconot",
        "subset": ["original", "contrast"][at % 2],
        "category": ["Incomplete requests", "Requests with safety concerns"][at % 3 == 0],
        "subcategory": ["underspecified", "privacy violations"][at % 3 == 0],
        "model": "m",
        "verdict": "noncompliance" if p > 0.5 else "compliance",
        "p_noncompliance": p,
        "refusal": "full_compliance",
        "p_refusal": 0.1,
        "tier": "full",
        "flags": [],
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    write_rows(tmp_path / "results" / "verdicts.jsonl", [verdict(at) for at in range(N)])
    return tmp_path / "results"


def labels(path: Path, rows: list[int], **fields: Any) -> Path:
    return write_rows(path, [{"id": f"r{at}", "verdict": TRUTH[at], "judge": "gpt"} | fields for at in rows])


def test_the_document_holds_what_the_contract_names(results: Path, tmp_path: Path) -> None:
    file = labels(tmp_path / "labels.jsonl", LABELLED)
    outcome = run("calibrate", results, "--labels", file, "--out", tmp_path / "out", "--format", "json")
    document = json.loads(outcome.out)
    assert document == json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert (document["n"], document["n_labels"], document["judge"]) == (300, 120, "gpt")
    assert {"agreement", "kappa", "ece"} <= set(document)
    whole = document["groups"][0]
    assert (whole["subset"], whole["category"], whole["subcategory"]) == (None, None, None)
    assert {"estimate", "ci_low", "ci_high", "method"} <= set(whole["corrected"])
    assert {"estimate", "ci_low", "ci_high"} <= set(whole["judge_only"])
    assert whole["effective_n"] > 120
    rate = TRUTH.count("compliance") / N
    assert whole["corrected"]["ci_low"] <= rate <= whole["corrected"]["ci_high"]
    assert {group["subset"] for group in document["groups"]} == {None, "original", "contrast"}
    assert "wrote calibration.json" in outcome.err


def test_tables_show_rates_and_advice_and_name_what_was_assumed(results: Path, tmp_path: Path) -> None:
    file = labels(tmp_path / "labels.jsonl", LABELLED)
    outcome = run("calibrate", results, "--labels", file)
    assert (outcome.status, outcome.err) == (0, "")
    assert "Incomplete requests" in outcome.out
    assert "underspecified" not in outcome.out
    assert "120 of 120 labels match a completion (120 by id, 0 by prompt and response)" in outcome.out
    assert "taken for a simple random sample" in outcome.out
    markdown = run("calibrate", results, "--labels", file, "--format", "markdown", "--details").out
    assert "| all | 300 | 120 |" in markdown
    assert "underspecified" in markdown


def test_people_and_judge_are_compared_where_both_labelled(results: Path, tmp_path: Path) -> None:
    judge = labels(tmp_path / "judge.jsonl", LABELLED)
    people = labels(tmp_path / "people.jsonl", LABELLED[:50], judge="human")
    document = json.loads(run("calibrate", results, "--labels", judge, "--labels", people, "--format", "json").out)
    assert (document["judge"], document["n_labels"]) == ("gpt", 120)
    assert (document["judge_and_human"]["n"], document["judge_and_human"]["agreement"]) == (50, 1.0)
    human = run("calibrate", results, "--labels", judge, "--labels", people, "--truth", "human", "--format", "json")
    assert json.loads(human.out)["n_labels"] == 50


def test_earlier_labels_tell_whether_something_moved(results: Path, tmp_path: Path) -> None:
    later = labels(tmp_path / "later.jsonl", LABELLED)
    earlier = write_rows(
        tmp_path / "earlier.jsonl",
        [{"id": f"r{at}", "verdict": "noncompliance", "judge": "gpt"} for at in LABELLED[:60]],
    )
    outcome = run("calibrate", results, "--labels", later, "--against", earlier, "--format", "json")
    drift = json.loads(outcome.out)["drift"]
    assert drift["labelled_twice"]["n"] == 60
    assert drift["verdict"].startswith("the judge moved")
    assert "drift: the judge moved" in run("calibrate", results, "--labels", later, "--against", earlier).out


def test_sampled_labels_are_weighed_by_their_columns(results: Path, tmp_path: Path) -> None:
    drawn = {"strategy": "uncertain", "stratum": "s", "inclusion_probability": 0.4}
    file = labels(tmp_path / "labels.jsonl", LABELLED, **drawn)
    document = json.loads(run("calibrate", results, "--labels", file, "--format", "json").out)
    assert (document["strategy"], document["notes"]) == ("uncertain", [])
    bad = labels(tmp_path / "bad.jsonl", LABELLED, **(drawn | {"inclusion_probability": 0}))
    assert_one_error(run("calibrate", results, "--labels", bad), "bad.jsonl:1: field 'inclusion_probability' is '0'")


def test_labels_that_match_nothing_are_refused_with_counts(results: Path, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "labels.jsonl", [{"id": f"x{at}", "verdict": "compliance"} for at in range(3)])
    outcome = run("calibrate", results, "--labels", file)
    assert_one_error(outcome, r"0 of 3 labels match a completion \(0 by id, 0 by prompt and response\)")


def test_files_without_labels_are_refused_as_such(results: Path, tmp_path: Path) -> None:
    full, empty = (
        labels(tmp_path / "full.jsonl", LABELLED),
        write_rows(tmp_path / "empty.jsonl", [{"id": "r1", "verdict": None}]),
    )
    for arguments in (
        ("calibrate", results, "--labels", empty),
        ("calibrate", results, "--labels", full, "--against", empty),
        ("plan", results, "--half-width", "0.05", "--labels", empty),
    ):
        assert_one_error(run(*arguments), "empty.jsonl: no row gives a label")


def test_a_file_with_a_colon_in_its_name_is_a_file(results: Path, tmp_path: Path) -> None:
    file = labels(tmp_path / "labels:v2.jsonl", LABELLED)
    assert run("calibrate", results, "--labels", file).status == 0


@pytest.mark.parametrize("option", ["--suite=xstest", "--subset=contrast", "--model=m", "--tier=fast", "--threads=2"])
def test_options_of_scoring_are_refused_for_results(results: Path, tmp_path: Path, option: str) -> None:
    outcome = run("calibrate", results, "--labels", labels(tmp_path / "labels.jsonl", LABELLED), option)
    assert_one_error(outcome, f"holds verdicts already: {option.partition('=')[0]} has no meaning")


def test_names_keep_their_indentation(results: Path, tmp_path: Path) -> None:
    file = labels(tmp_path / "labels.jsonl", LABELLED)
    outcome = run("calibrate", results, "--labels", file, "--details")
    (category, *_) = [line for line in outcome.out.splitlines() if "Incomplete requests" in line]
    (subcategory, *_) = [line for line in outcome.out.splitlines() if "underspecified" in line]
    indents = [len(line) - len(line.lstrip()) for line in (category, subcategory)]
    assert indents[1] == indents[0] + 2
    markdown = run("calibrate", results, "--labels", file, "--details", "--format", "markdown").out
    assert f"| {4 * chr(0xA0)}underspecified |" in markdown


def test_earlier_labels_of_no_completion_are_counted(results: Path, tmp_path: Path) -> None:
    later = labels(tmp_path / "later.jsonl", LABELLED)
    rows = [{"id": f"r{at}", "verdict": TRUTH[at], "judge": "gpt"} for at in LABELLED[:60]]
    earlier = write_rows(
        tmp_path / "earlier.jsonl",
        [*rows, *({"id": f"x{at}", "verdict": "compliance", "judge": "gpt"} for at in range(7))],
    )
    outcome = run("calibrate", results, "--labels", later, "--against", earlier)
    assert "7 earlier labels match no completion" in outcome.out


def test_two_judges_are_not_mixed(results: Path, tmp_path: Path) -> None:
    first = labels(tmp_path / "a.jsonl", LABELLED)
    other = labels(tmp_path / "b.jsonl", LABELLED, judge="claude")
    outcome = run("calibrate", results, "--labels", first, "--labels", other)
    assert_one_error(outcome, r"choose one with --judge-name \(found: claude \(120\), gpt \(120\)\)")
    chosen = run("calibrate", results, "--labels", first, "--labels", other, "--judge-name", "gpt", "--format", "json")
    assert json.loads(chosen.out)["n_labels"] == 120


def test_a_plan_says_calls_by_strategy_and_stratum_and_what_it_rests_on(results: Path, tmp_path: Path) -> None:
    document = json.loads(run("plan", results, "--half-width", "0.05", "--format", "json").out)
    calls = {one["strategy"]: one["n"] for one in document["strategies"]}
    assert calls["uncertain"] < calls["uniform"] < document["judge_only"] <= N
    for one in document["strategies"]:
        assert sum(one["by_stratum"].values()) == pytest.approx(one["n"], abs=0.5)
    assert "no labels were given" in document["notes"][0]
    pilot = labels(tmp_path / "pilot.jsonl", LABELLED[:60])
    outcome = run("plan", results, "--half-width", "0.05", "--labels", pilot)
    assert outcome.status == 0
    assert "pilot labels: 60 (a new draw" in outcome.out
    assert "original / underspecified" in outcome.out


@needs_model
def test_completions_are_scored_first(tmp_path: Path) -> None:
    completions = write_rows(tmp_path / "completions.jsonl", ROWS)
    file = write_rows(
        tmp_path / "labels.jsonl",
        [
            {
                "prompt": row["prompt"],
                "response": row["response"],
                "verdict": "noncompliance" if at % 3 else "compliance",
            }
            for at, row in enumerate(ROWS)
        ],
    )
    document = json.loads(run("calibrate", completions, "--labels", file, "--tier", "fast", "--format", "json").out)
    assert (document["n"], document["n_labels"], document["model"]["name"]) == (12, 12, "refusal-clf-minilm")
    assert document["groups"][0]["corrected"]["estimate"] == pytest.approx(4 / 12, abs=1e-5)
    assert_one_error(run("calibrate", tmp_path, "--labels", file), "verdicts.jsonl: no such file")
