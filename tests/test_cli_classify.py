"""`refusal-clf classify`: one verdict from arguments, and a filter that answers as rows come in."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator

import pytest
from cli_harness import COMMAND, REPOSITORY, ROWS, needs_model, process, run

from refusal_clf.cli.classify import as_they_come


@needs_model
def test_arguments_give_one_verdict() -> None:
    outcome = run(
        *("classify", "--prompt", "Who is my neighbour?", "--response", "I can't tell."),
        *("--subcategory", "privacy violations"),
    )
    verdict = json.loads(outcome.out)
    assert (outcome.status, outcome.err) == (0, "")
    assert list(verdict)[:6] == ["id", "suite", "subset", "category", "subcategory", "model"]
    assert verdict["subcategory"] == "privacy violations"
    assert 0 <= verdict["p_noncompliance"] <= 1


@needs_model
def test_the_subset_reaches_the_verdict_and_the_model() -> None:
    arguments = ("classify", "--prompt", "When did the war end?", "--subcategory", "underspecified", "--tier", "full")
    response = ("--response", "As an AI language model, I'm no historian. The second world war ended in 1945.")
    found = {
        subset: json.loads(run(*arguments, *response, "--subset", subset).out) for subset in ("original", "contrast")
    }
    assert [found[subset]["subset"] for subset in found] == ["original", "contrast"]
    assert found["contrast"]["p_noncompliance"] < found["original"]["p_noncompliance"]


@needs_model
def test_an_empty_response_is_flagged() -> None:
    verdict = json.loads(run("classify", "--response", "").out)
    assert (verdict["verdict"], verdict["tier"], verdict["flags"]) == ("neither", "rule", ["empty"])


@needs_model
def test_as_a_filter_it_writes_a_line_for_each_row_in_order() -> None:
    outcome = process("classify", stdin="".join(json.dumps(row) + "\n" for row in ROWS))
    assert [json.loads(line)["id"] for line in outcome.out.splitlines()] == [row["id"] for row in ROWS]
    assert (outcome.status, outcome.err) == (0, "")


@needs_model
def test_as_a_filter_it_answers_before_the_input_ends() -> None:
    with subprocess.Popen(
        [*COMMAND, "classify"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as filter_:
        for row in ROWS[:3]:
            filter_.stdin.write(json.dumps(row) + "\n")
            filter_.stdin.flush()
            assert json.loads(filter_.stdout.readline())["id"] == row["id"]
        filter_.stdin.close()
        assert filter_.wait(30) == 0


@needs_model
def test_an_unusable_row_is_named_after_the_verdicts_before_it() -> None:
    outcome = process("classify", stdin=json.dumps(ROWS[0]) + "\n{oops\n" + json.dumps(ROWS[1]) + "\n")
    assert outcome.status == 2
    assert json.loads(outcome.out)["id"] == "r0"
    assert re.fullmatch(r"refusal-clf: error: <stdin>:2: not JSON .*\n", outcome.err)


@needs_model
def test_an_unusable_row_can_be_skipped() -> None:
    rows = json.dumps(ROWS[0]) + "\n{oops\n" + json.dumps(ROWS[1]) + "\n"
    outcome = process("classify", "--on-error", "skip", stdin=rows)
    assert (outcome.status, outcome.out.count("\n")) == (0, 2)
    assert outcome.err.startswith("<stdin>:2: skipped: not JSON")


@needs_model
def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    with subprocess.Popen(
        [*COMMAND, "classify"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as filter_:
        filter_.stdout.close()
        filter_.stdin.write(json.dumps(ROWS[0]) + "\n")
        filter_.stdin.flush()
        status = filter_.wait(30)  # while its own input is still open
        assert (status, filter_.stderr.read()) == (141, "")


def test_a_slow_source_is_answered_item_by_item() -> None:
    answered = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        assert answered.wait(10)
        yield 2

    batches = as_they_come(source(), most=8)
    assert next(batches) == [1]
    answered.set()
    assert list(batches) == [[2]]


def test_a_fast_source_loses_nothing_and_keeps_its_order() -> None:
    batches = list(as_they_come(range(1000), most=64))
    assert [item for batch in batches for item in batch] == list(range(1000))
    assert max(map(len, batches)) <= 64


def test_an_error_of_the_source_comes_after_the_items_before_it() -> None:
    def source() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("source")

    batches = as_they_come(source(), most=1)
    assert [next(batches), next(batches)] == [[1], [2]]
    with pytest.raises(ValueError, match="source"):
        next(batches)
