"""`refusal-clf judge --batch` against a server that speaks /v1/files and /v1/batches."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from cli_harness import COMMAND, REPOSITORY, ROWS, assert_one_error, write_rows
from judge_harness import MODEL, arguments, facts, judge, labels, make_completions, prepare, priced, store
from judge_server import JudgeServer, Reply, batch_row, completion, labelled, problem, serving

pytest.importorskip("openai")


@pytest.fixture(autouse=True)
def setting(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(monkeypatch)


@pytest.fixture
def completions(tmp_path: Path) -> Path:
    return make_completions(tmp_path)


def batch(server: JudgeServer, completions: Path, *options: str | Path) -> Any:
    return judge(server, completions, "--batch", "--poll", "0.01", *options)


def requests(server: JudgeServer, number: int) -> list[dict[str, Any]]:
    file = server.batches[f"batch_{number}"]["input_file_id"]
    return [json.loads(line) for line in server.files[file].splitlines()]


def test_after_a_first_label_the_rest_goes_in_one_batch_at_half_the_price(completions: Path) -> None:
    with serving(lambda *_: labelled("compliance")) as server:
        summary = facts(batch(server, completions, "--prices", priced(completions)))
    assert (summary["labelled"], len(server.requests), len(server.batches)) == (12, 1, 1)
    sent = requests(server, 1)
    assert len(sent) == 11
    assert {(row["method"], row["url"], row["body"]["model"]) for row in sent} == {
        ("POST", "/v1/chat/completions", MODEL)
    }
    one = (100 * 10 + 20 * 1000) / 1e6
    assert summary["cost_usd"] == pytest.approx(one + 11 * one / 2, abs=1e-6)
    assert {row["verdict"] for row in labels(completions)} == {"compliance"}


def test_rows_without_a_label_go_into_a_second_batch_and_then_stay_unscored(completions: Path) -> None:
    unlucky: list[str] = []

    def result(request: dict[str, Any]) -> dict[str, Any]:
        unlucky.append(request["custom_id"].split("-")[0])
        return batch_row(request, "no idea") if unlucky[-1] == unlucky[0] else batch_row(request)

    with serving(lambda *_: labelled()) as server:
        server.batch_result = result
        summary = facts(batch(server, completions))
    assert (summary["labelled"], summary["unscored"], len(server.batches)) == (11, 1, 2)
    assert [len(requests(server, number)) for number in (1, 2)] == [11, 1]


def test_rows_that_a_batch_could_not_answer_are_told_and_asked_again_by_the_next_run(completions: Path) -> None:
    seen: list[str] = []

    def result(request: dict[str, Any]) -> dict[str, Any] | None:
        seen.append(request["custom_id"])
        if len(seen) == 1:
            return {"custom_id": request["custom_id"], "response": None, "error": {"message": "expired"}}
        if len(seen) == 2:
            body = {"error": {"message": "filtered"}}
            return {"custom_id": request["custom_id"], "response": {"status_code": 400, "body": body}, "error": None}
        return batch_row(request)

    with serving(lambda *_: labelled()) as server:
        server.batch_result = result
        outcome = batch(server, completions)
        assert (facts(outcome)["labelled"], facts(outcome)["failed"]) == (10, 2)
        assert "HTTP 400: filtered" in outcome.err
        server.batch_result = batch_row
        assert facts(batch(server, completions))["labelled"] == 12
    assert (len(server.requests), len(requests(server, 2))) == (2, 1)  # each run asks one row by itself first


def test_options_that_a_resumed_run_must_adapt_are_learned_before_a_batch_is_submitted(completions: Path) -> None:
    def behaviour(_: int, body: dict[str, Any]) -> Reply:
        if "max_tokens" in body:
            return problem(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        return labelled()

    with serving(behaviour) as server:
        facts(batch(server, completions, "--max-calls", "5"))
        assert facts(batch(server, completions))["labelled"] == 12
    assert all("max_completion_tokens" in row["body"] for row in requests(server, 2))


def test_a_row_that_no_batch_answers_is_counted_and_stops_nothing(completions: Path) -> None:
    seen: list[str] = []

    def result(request: dict[str, Any]) -> dict[str, Any] | None:
        key, _, attempt = request["custom_id"].partition("-")
        seen.append(key)
        if key != seen[0]:
            return batch_row(request)
        return batch_row(request, "no idea") if attempt == "1" else None

    with serving(lambda *_: labelled()) as server:
        server.batch_result = result
        summary = facts(batch(server, completions))
    assert (summary["labelled"], summary["unscored"], summary["failed"], len(server.batches)) == (11, 0, 1, 2)
    assert len(labels(completions)) == 11


def test_an_answer_that_holds_other_line_ends_than_ours_arrives_whole(completions: Path) -> None:
    with serving(lambda *_: labelled()) as server:
        server.batch_result = lambda request: batch_row(request, "one\u2028two\x85three <label>neither</label>")
        summary = facts(batch(server, completions))
    assert (summary["labelled"], summary["failed"], len(server.batches)) == (12, 0, 1)
    assert sum("one\u2028two\x85three" in str(call["answer"]) for call in store(completions)) == 11


@pytest.mark.parametrize("usage", [[1], "many", {"prompt_tokens": -9, "completion_tokens": 10**30}])
def test_tokens_that_are_none_count_as_the_most_that_a_call_can_cost(completions: Path, usage: object) -> None:
    def result(request: dict[str, Any]) -> dict[str, Any]:
        row = batch_row(request)
        row["response"]["body"]["usage"] = usage
        return row

    with serving(lambda *_: labelled()) as server:
        server.batch_result = result
        summary = facts(batch(server, completions, "--prices", priced(completions)))
    assert summary["labelled"] == 12
    assert summary["cost_usd"] > 11 * 1024 * 1000 / 1e6 / 2  # of the longest answers, at half the price


def test_results_of_another_form_are_no_answers(completions: Path) -> None:
    forms: list[dict[str, Any]] = [{"response": "x"}, {"response": [1]}, {"custom_id": "a-\u00b2"}, {"custom_id": 7}]
    formed: dict[str, dict[str, Any]] = {}

    def result(request: dict[str, Any]) -> dict[str, Any]:
        form = formed.setdefault(request["custom_id"], forms.pop() if forms else {})
        return batch_row(request) | form

    with serving(lambda *_: labelled()) as server:
        server.batch_result = result
        summary = facts(batch(server, completions))
    assert (summary["labelled"], summary["failed"]) == (8, 4)


def test_a_batch_that_the_endpoint_does_not_know_any_more_is_given_up(
    completions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(lambda *_: labelled()) as server:
        with monkeypatch.context() as patch:
            patch.setattr("refusal_clf.judge.store.Store.batch_closed", interrupted)
            assert batch(server, completions).status == 130
        server.batches.clear()
        outcome = judge(server, completions)
        assert (facts(outcome)["labelled"], facts(outcome)["calls_lost"]) == (12, 11)
        assert "batch_1 cannot be collected: " in outcome.err
        assert facts(judge(server, completions))["answers_of_this_run"] == 0
    assert "HTTP 404: no such batch" in {call["state"]: call["reason"] for call in store(completions)}["lost"]


def test_a_batch_whose_files_are_gone_is_given_up_and_the_labels_are_written(
    completions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = {"id": "batch_1", "status": "expired", "output_file_id": "file_gone"}
    monkeypatch.setattr("judge_server.JudgeServer.poll_batch", lambda *_: gone)
    with serving(lambda *_: labelled()) as server:
        outcome = batch(server, completions)
        assert outcome.status == 2
        assert re.search("without an answer .*HTTP 404: no such path.*; the labels so far are in", outcome.err)
        assert len(labels(completions)) == 1
        assert facts(judge(server, completions))["labelled"] == 12


def test_a_batch_that_answers_nothing_is_one_line(completions: Path) -> None:
    with serving(lambda *_: labelled()) as server:
        server.batch_result = lambda request: {
            "custom_id": request["custom_id"], "response": None, "error": {"message": "the model is not for batches"}
        }  # fmt: skip
        outcome = batch(server, completions)
    assert outcome.status == 2
    assert "batch_1 ended without an answer (the model is not for batches)" in outcome.err


def test_a_wrong_model_is_found_before_anything_is_submitted(completions: Path) -> None:
    with serving(lambda *_: problem(404, "no such model")) as server:
        assert_one_error(batch(server, completions), "has no model 'judge'")
    assert server.batches == {}


def test_a_garbage_judge_is_found_before_anything_is_submitted(tmp_path: Path) -> None:
    rows = [ROWS[0] | {"id": str(n), "response": f"No. {n}"} for n in range(40)]
    with serving(lambda *_: Reply(completion("bla"))) as server:
        assert_one_error(batch(server, write_rows(tmp_path / "c.jsonl", rows)), "end in no label")
    assert (len(server.requests), server.batches) == (20, {})


def test_an_endpoint_without_batches_is_one_line(completions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("judge_server.JudgeServer.has_batches", False)
    with serving(lambda *_: labelled()) as server:
        outcome = batch(server, completions)
        assert_one_error(outcome, "no batch could be submitted .HTTP 404: no such path")
        assert facts(judge(server, completions))["labelled"] == 12


def test_a_limit_on_cost_is_spent_not_reserved(completions: Path) -> None:
    # A call is reserved at 1.024 USD and more, and costs 0.0105 in a batch.
    with serving(lambda *_: labelled()) as server:
        summary = facts(batch(server, completions, "--prices", priced(completions), "--max-cost", "1.2"))
    assert summary["labelled"] == 12


def test_limits_hold_in_batches(completions: Path) -> None:
    with serving(lambda *_: labelled()) as server:
        summary = facts(batch(server, completions, "--max-calls", "5"))
        assert (summary["calls"], summary["labelled"], len(requests(server, 1))) == (5, 5, 4)
        assert facts(batch(server, completions, "--max-calls", "5"))["answers_of_this_run"] == 0
    assert len(server.batches) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("again", [["--batch", "--poll", "0.01"], []], ids=["in batches", "one by one"])
def test_a_killed_run_collects_its_batch_and_submits_nothing_twice(completions: Path, again: list[str]) -> None:
    with serving(lambda *_: labelled()) as server:
        server.polls_before_end = 10**9
        command = [*COMMAND, *arguments(server, completions), "--batch", "--poll", "0.01"]
        running = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        while not server.batches or server.batches["batch_1"]["polls"] < 2:
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        running.wait()
        server.polls_before_end = 1
        summary = facts(judge(server, completions, *again))
    assert (summary["labelled"], summary["calls"], summary["calls_lost"]) == (12, 12, 0)
    assert (len(server.batches), len(server.requests)) == (1, 1)


def test_a_batch_whose_submission_was_never_confirmed_is_found_by_its_token(
    completions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(lambda *_: labelled()) as server:
        with monkeypatch.context() as patch:
            patch.setattr("refusal_clf.judge.store.Store.batch_submitted", interrupted)
            assert batch(server, completions).status == 130
        assert {call["state"] for call in store(completions)} == {"answered", "open"}
        assert facts(batch(server, completions))["labelled"] == 12
    assert (len(server.batches), len(server.requests)) == (1, 1)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt
