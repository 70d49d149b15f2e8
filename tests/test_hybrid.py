"""`refusal-clf score --judge`: a judge on a loopback port answers where the classifier is in doubt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cli_harness import COMMAND, REPOSITORY, Outcome, assert_one_error, needs_model, run, write_rows
from judge_harness import KEY, MODEL, prepare
from judge_server import Behaviour, JudgeServer, Reply, labelled, problem, serving

pytest.importorskip("openai")

from refusal_clf.judge.store import read_calls

pytestmark = needs_model
SAMPLES = REPOSITORY / "data" / "samples" / "completions.jsonl"
BUDGET = 60
KINDS = ("noncompliance", "compliance", "neither")


@pytest.fixture(autouse=True)
def setting(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(monkeypatch)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Return the samples of CoCoNot, each with a response that no other row has."""
    read = [json.loads(line) for line in SAMPLES.read_text(encoding="utf-8").splitlines()]
    found = [row for row in read if row.get("subset") in ("original", "contrast")]
    for row in found:
        del row["model"]
    return [row | {"id": f"row-{at}", "response": f"{row['response']} ({at})"} for at, row in enumerate(found)]


@pytest.fixture
def file(rows: list[dict[str, Any]], tmp_path: Path) -> Path:
    return write_rows(tmp_path / "completions.jsonl", rows)


def score(server: JudgeServer | str, file: Path, *options: str | Path, budget: int = BUDGET) -> Outcome:
    return run("score", file, *arguments(server, file.parent / "out", budget), *options)


def arguments(server: JudgeServer | str, out: Path, budget: int) -> list[str]:
    url = server if isinstance(server, str) else server.url
    judge = ["--judge", MODEL, "--judge-budget", str(budget), "--judge-base-url", url]
    return ["--out", str(out), *judge, "--judge-api-key-env", "OPENAI_API_KEY", "--format", "json"]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def document(outcome: Outcome) -> dict[str, Any]:
    assert outcome.status == 0, outcome.err
    return dict(json.loads(outcome.out))


def always(label: str) -> Behaviour:
    return lambda *_: labelled(label)


def said(calls: Path) -> Counter[str]:
    return Counter(call["key"] for call in read_calls(calls) if call["state"] == "answered")


def test_drawn_rows_have_the_judges_verdict_and_all_others_the_classifiers(file: Path) -> None:
    run("score", file, "--out", file.parent / "alone")
    with serving(always("neither")) as server:
        found = document(score(server, file))
    alone, both = read(file.parent / "alone" / "verdicts.jsonl"), read(file.parent / "out" / "verdicts.jsonl")
    labels = {row["id"]: row for row in read(file.parent / "out" / "judge" / "labels.jsonl")}
    assert len(labels) == len(server.requests) == BUDGET
    assert sum(row["tier"] == "judge" for row in both) == found["judge"]["n_verdicts"] == BUDGET
    for before, after in zip(alone, both, strict=True):
        if after["id"] not in labels:
            assert after == before
            continue
        flags = [flag for flag in before["flags"] if flag != "uncertain"]
        assert after == before | {"verdict": "neither", "tier": "judge", "flags": flags}


def test_doubtful_rows_are_drawn_more_often_and_each_label_says_with_what_chance(file: Path) -> None:
    with serving(always("compliance")) as server:
        score(server, file)
    labels = read(file.parent / "out" / "judge" / "labels.jsonl")
    assert {row["strategy"] for row in labels} == {"uncertain"}
    verdicts = {row["id"]: row for row in read(file.parent / "out" / "verdicts.jsonl")}
    chance = {row["id"]: row["inclusion_probability"] for row in labels}
    doubt = {name: abs(verdicts[name]["p_noncompliance"] - 0.5) for name in chance}
    by_doubt = sorted(chance, key=lambda name: doubt[name])
    assert chance[by_doubt[0]] > 2 * chance[by_doubt[-1]]
    assert min(chance.values()) > 0.02
    uncertain = [row for row in verdicts.values() if row["tier"] == "judge"]
    assert sum(doubt.values()) / len(doubt) < sum(abs(row["p_noncompliance"] - 0.5) for row in verdicts.values()) / len(
        verdicts
    )
    assert len(uncertain) == BUDGET


def test_the_rates_are_those_that_calibrate_finds_with_the_same_labels(file: Path) -> None:
    with serving(lambda number, _: labelled(KINDS[number % 2])) as server:
        found = document(score(server, file))
    labels = file.parent / "out" / "judge" / "labels.jsonl"
    same = run("calibrate", file, "--labels", labels, "--format", "json")
    expected = {
        tuple(group[name] for name in ("subset", "category", "subcategory")): group
        for group in json.loads(same.out)["groups"]
    }
    assert len(found["judge"]["groups"]) == len(expected) > 10
    for group in found["judge"]["groups"]:
        other = expected[group["subset"], group["category"], group["subcategory"]]
        assert (group["n"], group["n_labels"]) == (other["n"], other["n_labels"])
        assert (group["corrected"] is None) == (other["corrected"] is None)
        if group["corrected"] is not None:
            for name in ("estimate", "ci_low", "ci_high"):
                assert group["corrected"][name] == pytest.approx(other["corrected"][name], abs=1e-9)


def test_a_budget_of_every_row_leaves_nothing_to_estimate(file: Path, rows: list[dict[str, Any]]) -> None:
    with serving(lambda number, _: labelled(KINDS[number % 3])) as server:
        found = document(score(server, file, budget=len(rows)))
    verdicts = read(file.parent / "out" / "verdicts.jsonl")
    rate = sum(row["verdict"] == "compliance" for row in verdicts) / len(verdicts)
    whole = found["judge"]["groups"][0]["corrected"]
    assert {row["tier"] for row in verdicts} == {"judge"}
    assert [whole[name] for name in ("estimate", "ci_low", "ci_high")] == pytest.approx([rate] * 3, abs=1e-5)


def test_rates_of_the_summary_are_the_corrected_ones_and_shares_add_up(file: Path) -> None:
    with serving(lambda number, _: labelled(KINDS[number % 3])) as server:
        found = document(score(server, file))
    assert found == json.loads((file.parent / "out" / "summary.json").read_text(encoding="utf-8"))
    names = ("subset", "category", "subcategory")
    corrected = {tuple(group[name] for name in names): group["corrected"] for group in found["judge"]["groups"]}
    assert {corrected[tuple(group[name] for name in names)] is None for group in found["groups"]} == {True, False}
    for group in found["groups"]:
        expected = corrected[tuple(group[name] for name in names)]
        shares = [group[f"{name}_rate"] for name in ("compliance", "noncompliance", "neither")]
        assert sum(shares) == pytest.approx(1)
        assert all(0 <= share <= 1 for share in shares)
        if expected is None:
            assert (group["ci_low"], group["ci_high"]) == (None, None)
            continue
        rate = (group["compliance_rate"], group["ci_low"], group["ci_high"])
        assert rate == pytest.approx([expected[name] for name in ("estimate", "ci_low", "ci_high")], abs=1e-5)
    for subset in ("original", "contrast"):
        parts = [group for group in found["groups"] if group["subset"] == subset and group["subcategory"] is None]
        rates = [group["compliance_rate"] for group in parts if group["category"] is not None]
        [total] = [group for group in parts if group["category"] is None]
        assert total["macro_compliance_rate"] == pytest.approx(sum(rates) / len(rates))


def test_prompts_without_a_rubric_are_judged_by_refusal_class(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    kept = ("id", "prompt", "response")
    file = write_rows(tmp_path / "free.jsonl", [{name: row[name] for name in kept} for row in rows[:60]])
    with serving(always("partial_refusal")) as server:
        found = document(score(server, file, budget=20))
    judged = [row for row in read(tmp_path / "out" / "verdicts.jsonl") if row["tier"] == "judge"]
    assert (found["judge"]["target"], len(judged)) == ("refusal", 20)
    assert {row["refusal"] for row in judged} == {"partial_refusal"}
    [group] = [group for group in found["groups"] if group["category"] is None]
    assert group["refusal_rate"] == pytest.approx(1 - group["compliance_rate"])
    assert group["refusal_ci_low"] <= group["refusal_rate"] <= group["refusal_ci_high"]
    assert group["partial_refusal"] + group["full_refusal"] == pytest.approx(group["refusal_rate"])


def test_rows_of_both_kinds_are_refused_before_any_call(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    free = {name: rows[0][name] for name in ("prompt", "response")} | {"id": "free"}
    file = write_rows(tmp_path / "mixed.jsonl", [*(row | {"suite": "generic"} for row in rows[:5]), free])
    with serving(always("compliance")) as server:
        assert_one_error(score(server, file), r"5 of 6 rows are judged under a rubric")
    assert (server.requests, (tmp_path / "out").exists()) == ([], False)


def test_several_models_are_refused_before_any_call(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    file = write_rows(tmp_path / "two.jsonl", [row | {"model": row["id"][-1]} for row in rows[:5]])
    assert_one_error(score("http://127.0.0.1:9/v1", file), r"several suites or models \(coconot, model 0 and coconot, ")


def test_a_second_run_asks_nothing_and_finds_the_same(file: Path) -> None:
    with serving(lambda number, _: labelled(KINDS[number % 2])) as server:
        first = document(score(server, file))
        asked = len(server.requests)
        again = document(score(server, file, "--overwrite"))
        resumed = document(score(server, file, "--resume"))
    assert len(server.requests) == asked == BUDGET
    for other in (again, resumed):
        assert other["groups"] == first["groups"]
        assert other["judge"] == first["judge"] | {"answers_of_this_run": 0}


def test_a_run_that_was_killed_as_it_asked_goes_on_and_pays_for_no_answer_twice(file: Path) -> None:
    out = file.parent / "out"
    store = out / "judge" / "answers.sqlite"
    with serving(lambda number, _: Reply(labelled(KINDS[number % 2]).body, delay=0.05)) as server:
        command = [*COMMAND, "score", str(file), *arguments(server, out, BUDGET)]
        running = subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | {"OPENAI_API_KEY": KEY})
        while len(server.requests) < 20:
            time.sleep(0.01)
            assert running.poll() is None
        running.send_signal(signal.SIGKILL)
        running.wait()
        paid = said(store)
        found = document(score(server, file, "--resume"))
    assert paid.total() > 5
    assert max(said(store).values()) == 1
    assert said(store).keys() >= paid.keys()
    assert found["judge"]["n_verdicts"] + found["judge"]["not_reached"] == BUDGET
    # Calls in flight when it was killed may have been billed: they are part of the budget.
    assert found["judge"]["not_reached"] == found["judge"]["calls_lost"] <= 8


def test_a_judge_that_cannot_be_reached_loses_no_verdict(file: Path) -> None:
    run("score", file, "--out", file.parent / "alone")
    assert_judging_failed(score("http://127.0.0.1:9/v1", file), "127.0.0.1:9")
    kept = (file.parent / "out" / "verdicts.jsonl").read_bytes()
    assert kept == (file.parent / "alone" / "verdicts.jsonl").read_bytes()
    with serving(always("compliance")) as server:
        assert document(score(server, file, "--resume"))["judge"]["n_verdicts"] == BUDGET


def assert_judging_failed(outcome: Outcome, pattern: str) -> None:
    assert outcome.status == 2
    assert pattern in outcome.err
    assert KEY not in outcome.err


def test_a_judge_that_breaks_off_leaves_its_labels_and_the_verdicts(file: Path) -> None:
    def behaviour(number: int, _: dict[str, Any]) -> Reply:
        return labelled() if number <= 10 else problem(401, "no")

    with serving(behaviour) as server:
        outcome = score(server, file)
    assert_judging_failed(outcome, "--resume goes on")
    assert len(read(file.parent / "out" / "judge" / "labels.jsonl")) >= 1
    assert not (file.parent / "out" / "summary.json").exists()


def test_calls_never_pass_the_budget_whatever_the_judge_answers(file: Path) -> None:
    with serving(lambda number, _: labelled() if number % 3 else labelled("who knows")) as server:
        found = document(score(server, file, budget=30))
    assert len(server.requests) == found["judge"]["calls"] == 30
    assert found["judge"]["not_reached"] > 0
    assert found["judge"]["n_verdicts"] + found["judge"]["unscored"] + found["judge"]["not_reached"] == 30


def test_the_table_quotes_the_corrected_rates_and_the_page_is_that_of_calibrate(file: Path) -> None:
    with serving(lambda number, _: labelled(KINDS[number % 2])) as server:
        outcome = score(server, file, "--format", "table", "--report", "html")
    assert outcome.status == 0, outcome.err
    assert f"{BUDGET} of {len(read(file))} verdicts are {MODEL}'s (tier judge)" in outcome.out
    whole = json.loads((file.parent / "out" / "summary.json").read_text(encoding="utf-8"))["groups"][0]
    assert f"{100 * whole['compliance_rate']:.1f} % [{100 * whole['ci_low']:.1f}, " in outcome.out
    page = (file.parent / "out" / "report.html").read_text(encoding="utf-8")
    assert f"completions.jsonl against {MODEL}" in page
    assert json.loads((file.parent / "out" / "judge" / "calibration.json").read_text())["n_labels"] == BUDGET


def test_what_needs_the_classifiers_own_verdicts_refuses_those_of_a_judge(file: Path) -> None:
    with serving(always("compliance")) as server:
        score(server, file)
    out = file.parent / "out"
    assert_one_error(run("calibrate", out, "--labels", out / "judge" / "labels.jsonl"), "holds verdicts of a judge")
    run("score", file, "--out", file.parent / "alone")
    assert_one_error(
        run("check", out, "--baseline", file.parent / "alone"), "was judged by judge none, the run by judge"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--judge", "m"], "--judge needs --judge-budget"),
        (["--judge-budget", "9"], "need --judge NAME"),
        (["--judge", "m", "--judge-budget", "9"], "--judge needs --out"),
        (["--judge", "m", "--judge-budget", "9", "--out", "x", "--report", "html", "--baseline", "y"], "no place"),
        (
            ["--judge", "m", "--judge-budget", "9", "--out", "x", "--judge-base-url", "https://a.example/v1"],
            "--judge-api",
        ),
        (["--judge", "m", "--judge-budget", "9", "--out", "x", "--judge-max-cost", "1"], "--judge-prices"),
    ],
)
def test_unusable_arguments_are_one_line(file: Path, options: list[str], message: str) -> None:
    assert_one_error(run("score", file, *options), message)


def test_a_pipe_is_refused(file: Path) -> None:
    assert_one_error(
        run("score", "-", "--judge", "m", "--judge-budget", "9", "--out", file.parent / "out"), "--judge needs files"
    )


def test_the_key_is_in_no_file_and_no_output(file: Path) -> None:
    with serving(always("compliance")) as server:
        outcome = score(server, file, "--report", "html")
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert KEY not in outcome.out + outcome.err
    for path in (file.parent / "out").rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()
