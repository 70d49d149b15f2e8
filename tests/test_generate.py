"""`refusal-clf generate`: from an endpoint and from a directory, interrupted and gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_harness import Outcome, assert_one_error, needs_model, run, write_rows
from judge_server import JudgeServer, Reply, completion, problem, serving

PROMPTS = [
    {
        "id": f"p{number}",
        "suite": "coconot",
        "subset": ["original", "contrast"][number % 2],
        "subcategory": "underspecified",
        "prompt": f"question {number}",
        "response": "of another model",
        "model": "another",
    }
    for number in range(10)
]


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refusal_clf.judge.retrying.Retry.wait", lambda *_: 0.01)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "suite.jsonl", PROMPTS)


def asked(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def echo(_: int, body: dict[str, Any]) -> Reply:
    return Reply(completion(f"answer to {asked(body)}"))


def generate(server: JudgeServer, suite: Path, *options: str | Path) -> Outcome:
    out = suite.with_name("out.jsonl")
    return run("generate", "--suite", suite, "--model", "m", "--base-url", server.url, "--out", out, *options)


def rows(suite: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in suite.with_name("out.jsonl").read_text(encoding="utf-8").splitlines()]


def test_every_prompt_is_answered_in_the_order_of_the_suite(suite: Path) -> None:
    def late_first(number: int, body: dict[str, Any]) -> Reply:
        return Reply(completion(f"answer to {asked(body)}"), delay=0.1 if number == 2 else 0)

    with serving(late_first) as server:
        outcome = generate(server, suite)
    assert (outcome.status, outcome.out) == (0, "")
    assert [row["id"] for row in rows(suite)] == [row["id"] for row in PROMPTS]
    assert rows(suite)[3] == {
        "id": "p3",
        "suite": "coconot",
        "subset": "contrast",
        "category": "Incomplete requests",
        "subcategory": "underspecified",
        "model": "m",
        "prompt": "question 3",
        "response": "answer to question 3",
    }
    assert server.most_in_flight <= 8
    assert {(body["temperature"], body["max_tokens"]) for body in server.requests} == {(0, 512)}


def test_options_reach_the_endpoint(suite: Path, tmp_path: Path) -> None:
    (tmp_path / "system.txt").write_text("Be brief.\n")
    options = ("--system", tmp_path / "system.txt", "--max-tokens", "7", "--temperature", "0.5", "--limit", "4")
    with serving(echo) as server:
        assert generate(server, suite, *options).status == 0
    assert server.requests[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (server.requests[0]["temperature"], server.requests[0]["max_tokens"]) == (0.5, 7)
    assert sorted(row["subset"] for row in rows(suite)) == ["contrast"] * 2 + ["original"] * 2


def test_a_busy_endpoint_is_asked_again(suite: Path) -> None:
    def busy(number: int, body: dict[str, Any]) -> Reply:
        return problem(429, "slow down", {"Retry-After": "0.05"}) if number in (1, 5) else echo(number, body)

    with serving(busy) as server:
        assert generate(server, suite).status == 0
    assert len(rows(suite)) == 10


def test_a_prompt_that_is_never_answered_is_left_out_and_asked_again_by_resume(suite: Path) -> None:
    def filtered(number: int, body: dict[str, Any]) -> Reply:
        return problem(400, "content filter") if asked(body) == "question 4" else echo(number, body)

    with serving(filtered) as server:
        outcome = generate(server, suite)
    assert outcome.status == 2
    assert "1 × HTTP 400: content filter" in outcome.err
    assert "error: 1 prompts got no answer" in outcome.err
    assert [row["id"] for row in rows(suite)] == [row["id"] for row in PROMPTS if row["id"] != "p4"]
    with serving(echo) as server:
        assert generate(server, suite, "--resume").status == 0
    assert [asked(body) for body in server.requests] == ["question 4"]
    assert [row["id"] for row in rows(suite)] == [row["id"] for row in PROMPTS]


def test_prompts_that_are_always_refused_do_not_end_a_run_that_got_answers(
    suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refusal_clf.generation.remote.REFUSED_IN_A_ROW", 3)

    def filtered(number: int, body: dict[str, Any]) -> Reply:
        return echo(number, body) if asked(body) in ("question 0", "question 9") else problem(400, "content filter")

    with serving(filtered) as server:
        assert "error: 8 prompts got no answer" in generate(server, suite, "--concurrency", "1").err
        assert [row["id"] for row in rows(suite)] == ["p0", "p9"]
        assert "error: 8 prompts got no answer" in generate(server, suite, "--resume").err


def test_an_endpoint_that_refuses_every_prompt_ends_the_run(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refusal_clf.generation.remote.REFUSED_IN_A_ROW", 3)
    with serving(lambda *_: problem(400, "content filter")) as server:
        outcome = generate(server, suite)
    assert outcome.status == 2
    assert "3 rows in a row got no answer (HTTP 400: content filter); --resume goes on" in outcome.err
    assert len(server.requests) == 3


def test_a_torn_last_line_is_dropped_and_its_prompt_asked_again(suite: Path) -> None:
    with serving(echo) as server:
        generate(server, suite)
        whole = suite.with_name("out.jsonl").read_bytes()
        suite.with_name("out.jsonl").write_bytes(whole[:-30])
        assert generate(server, suite, "--resume").status == 0
    assert len(server.requests) == 11
    assert suite.with_name("out.jsonl").read_bytes() == whole


def test_an_endpoint_that_goes_away_ends_the_run_and_keeps_the_rows(suite: Path) -> None:
    def wrong_key(number: int, body: dict[str, Any]) -> Reply:
        return echo(number, body) if number < 4 else problem(401, "no such key")

    with serving(wrong_key) as server:
        outcome = generate(server, suite, "--concurrency", "1")
    assert outcome.status == 2
    assert "does not accept the key" in outcome.err
    assert len(rows(suite)) == 3
    assert len(server.requests) == 4


def test_what_is_to_be_overwritten_stays_until_there_is_an_answer(suite: Path) -> None:
    with serving(echo) as server:
        generate(server, suite)
        whole = suite.with_name("out.jsonl").read_bytes()
        server.behaviour = lambda *_: problem(401, "no such key")
        assert_one_error(generate(server, suite, "--overwrite", "--max-tokens", "9"), "out.jsonl is as it was")
        assert suite.with_name("out.jsonl").read_bytes() == whole
        server.behaviour = lambda *_: Reply(completion("new"))
        assert generate(server, suite, "--resume").status == 0  # with the settings that it was made with
        assert suite.with_name("out.jsonl").read_bytes() == whole
        assert generate(server, suite, "--overwrite").status == 0
    assert {row["response"] for row in rows(suite)} == {"new"}


def test_prompts_without_ids_are_told_apart_by_their_texts(tmp_path: Path) -> None:
    suite = write_rows(tmp_path / "suite.jsonl", [{"prompt": prompt} for prompt in ("a", "b", "a")])
    with serving(echo) as server:
        assert generate(server, suite).status == 0
        assert generate(server, suite, "--resume").status == 0
    assert [row["prompt"] for row in rows(suite)].count("a") == 2
    assert len(server.requests) == 3


def test_what_cannot_be_begun_is_one_line(suite: Path, tmp_path: Path) -> None:
    with serving(echo) as server:
        assert generate(server, suite).status == 0
        assert_one_error(generate(server, suite), "exists; give --resume .*or --overwrite")
        assert_one_error(generate(server, suite, "--resume", "--max-tokens", "9"), "max_tokens was 512 and is 9")
        assert_one_error(generate(server, suite, "--resume", "--overwrite"), "exclude each other")
        suite.with_name("out.run.json").write_text("[]", encoding="utf-8")
        assert_one_error(generate(server, suite, "--resume"), r"out\.run\.json is missing or damaged; give --overwrite")
        assert_one_error(generate(server, tmp_path / "nosuch", "--overwrite"), "no such file, and no suite")
        assert_one_error(generate(server, suite, "--system", tmp_path / "none"), "none: cannot be read")
        assert generate(server, suite, "--overwrite").status == 0
    out = ("--out", tmp_path / "o.jsonl")
    assert_one_error(run("generate", "--suite", suite, "--model", tmp_path / "none", *out), "needs --base-url")
    assert_one_error(
        run("generate", "--suite", suite, "--model", tmp_path, *out, "--temperature", "1"), "--temperature has no"
    )


def test_an_unreachable_endpoint_is_one_line(suite: Path) -> None:
    out = suite.with_name("out.jsonl")
    fixed = ("generate", "--suite", suite, "--model", "m", "--out", out)
    outcome = run(*fixed, "--base-url", "http://127.0.0.1:9/v1")
    assert outcome.status == 2
    assert "the connection failed" in outcome.err


@needs_model
def test_a_local_directory_answers_and_check_reads_it(suite: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("accelerate")
    from tiny_causal import tiny_model, tiny_tokenizer

    tiny_model().save_pretrained(tmp_path / "tiny")
    tiny_tokenizer().save_pretrained(tmp_path / "tiny")
    out = suite.with_name("out.jsonl")
    arguments = ("generate", "--suite", suite, "--model", tmp_path / "tiny", "--out", out, "--max-tokens", "4")
    outcome = run(*arguments)
    assert outcome.status == 0, outcome.err
    assert [row["id"] for row in rows(suite)] == [row["id"] for row in PROMPTS]
    assert {row["model"] for row in rows(suite)} == {"tiny"}
    first = out.read_bytes()
    assert run(*arguments, "--overwrite").status == 0
    assert out.read_bytes() == first
    assert run("score", out, "--out", tmp_path / "run").status == 0


def test_a_local_directory_with_other_weights_is_not_gone_on_with(suite: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("accelerate")
    from tiny_causal import tiny_model, tiny_tokenizer

    model, directory, out = tiny_model(), tmp_path / "tiny", suite.with_name("out.jsonl")
    model.save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    arguments = ("generate", "--suite", suite, "--model", directory, "--out", out, "--max-tokens", "4")
    assert run(*arguments, "--batch-size", "4").status == 0
    whole = out.read_bytes()
    # A run that was interrupted in the middle of batches, and a directory to which logs and completions were added.
    out.write_bytes(b"".join(whole.splitlines(keepends=True)[1::2]))
    (directory / "trainer_state.json").write_text("{}")
    (directory / "c.run.json").write_text("{}")
    assert run(*arguments, "--batch-size", "4", "--resume").status == 0
    assert out.read_bytes() == whole
    with torch.no_grad():
        model.model.norm.weight[3] += 0.5
    model.save_pretrained(directory)
    assert_one_error(run(*arguments, "--resume"), "cannot be resumed: weights was .* and is ")
    assert out.read_bytes() == whole


def test_a_directory_without_a_model_is_one_line(suite: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "bare").mkdir()
    outcome = run("generate", "--suite", suite, "--model", tmp_path / "bare", "--out", tmp_path / "o.jsonl")
    assert (outcome.status, outcome.out) == (2, "")
    assert "bare: no usable causal model" in outcome.err
