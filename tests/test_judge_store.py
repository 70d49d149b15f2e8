"""What is kept of a judge's calls, what they cost, and what may be spent."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusal_clf.judge.budget import Budget
from refusal_clf.judge.prices import Price, load_prices
from refusal_clf.judge.store import Answer, Call, Store, read_calls
from refusal_clf.records import InputError


def opened(path: Path, judge: str = "judge") -> Store:
    return Store(path, judge=judge, prompt_version="1", rubric="ours 1")


def test_everything_of_an_answer_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "s.sqlite"
    with opened(file) as store:
        number = store.begin(Call("k", 1, 0.5))
        store.answered(number, Answer("Fine.\n<label>x</label>", "stop", "gpt-4o-2024", 100, 20, 1.5), 0.25)
    [call] = read_calls(file)
    started = call.pop("started")
    assert started.endswith("+00:00")
    assert call == {
        "id": 1, "key": "k", "judge": "judge", "prompt_version": "1", "rubric": "ours 1", "attempt": 1,
        "state": "answered", "answer": "Fine.\n<label>x</label>", "finish_reason": "stop",
        "answered_by": "gpt-4o-2024", "prompt_tokens": 100, "completion_tokens": 20, "seconds": 1.5, "cost": 0.25,
        "reason": None, "batch": None, "max_tokens": None,
    }  # fmt: skip


def test_a_call_that_was_open_when_a_run_ended_counts_as_the_most_it_can_cost(tmp_path: Path) -> None:
    file = tmp_path / "s.sqlite"
    with opened(file) as store:
        store.begin(Call("a", 1, 0.5))
        store.failed(store.begin(Call("b", 1, 0.5)), "HTTP 500")
        store.answered(store.begin(Call("c", 1, 0.5)), Answer("x", prompt_tokens=7, completion_tokens=3), 0.1)
        store.answered(store.begin(Call("other", 1, 9.0)), Answer("x"), 9.0)
    with opened(file) as store:
        spent = store.spent({"a", "b", "c"})
        assert (spent.calls, spent.lost, spent.prompt_tokens, spent.completion_tokens) == (2, 1, 7, 3)
        assert spent.cost == pytest.approx(0.6)
        assert store.answers({"a", "b", "c"}) == {"c": [Answer("x", prompt_tokens=7, completion_tokens=3)]}


def test_a_store_of_the_first_layout_is_used_on(tmp_path: Path) -> None:
    file = tmp_path / "s.sqlite"
    with opened(file) as store:
        store.answered(store.begin(Call("k", 1, 0.5)), Answer("x"), 0.25)
    old = sqlite3.connect(file)
    old.executescript("ALTER TABLE calls DROP COLUMN max_tokens; PRAGMA user_version = 1;")
    old.close()
    with opened(file) as store:
        assert store.answers({"k"}) == {"k": [Answer("x")]}
        store.answered(store.begin(Call("k", 2, 0.5, 64)), Answer("y"), 0.25)
        assert store.answers({"k"})["k"][1] == Answer("y", max_tokens=64)


def test_a_batch_that_cannot_be_collected_counts_as_the_most_it_can_cost(tmp_path: Path) -> None:
    file = tmp_path / "s.sqlite"
    with opened(file) as store:
        store.begin_batch("token", [Call("a", 1, 0.5), Call("b", 2, 0.25)])
        store.batch_lost("token", "HTTP 404")
        assert store.open_batches() == []
        assert (store.spent({"a", "b"}).lost, store.spent({"a", "b"}).cost) == (2, 0.75)
    assert {call["reason"] for call in read_calls(file)} == {"HTTP 404"}


def test_an_open_batch_survives_and_its_calls_stay_open(tmp_path: Path) -> None:
    file = tmp_path / "s.sqlite"
    with opened(file) as store:
        store.begin_batch("token", [Call("a", 1, 0.5), Call("b", 2, 0.25)])
    with opened(file, "another judge") as store:
        assert store.open_batches() == []
    with opened(file) as store:
        [batch] = store.open_batches()
        assert (batch.token, batch.batch_id) == ("token", None)
        assert store.calls_of("token") == {("a", 1): (1, 0.5), ("b", 2): (2, 0.25)}
        store.batch_closed("token")
        assert store.open_batches() == []
        assert store.spent({"a", "b"}).calls == 0


@pytest.mark.parametrize("content", [b"hello, I am no database at all", b""])
def test_a_file_of_something_else_is_not_touched(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "s.sqlite"
    file.write_bytes(content)
    if content:
        with pytest.raises(InputError, match=r"s\.sqlite: is no store"), opened(file):
            pass
        assert file.read_bytes() == content
    else:
        with opened(file) as store:
            assert store.answers({"a"}) == {}


def test_another_database_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "s.sqlite"
    db = sqlite3.connect(file)
    db.execute("CREATE TABLE mine (x)")
    db.close()
    with pytest.raises(InputError, match="a database of something else"), opened(file):
        pass


def test_a_store_of_a_later_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "s.sqlite"
    db = sqlite3.connect(file)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(InputError, match="written by another version"), opened(file):
        pass


# --- budget and prices ----------------------------------------------------------------------------------------------


@given(
    st.integers(0, 20),
    st.floats(0, 10),
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["answer", "fail", "lose", "wait"])), max_size=60
    ),
)
def test_a_budget_is_never_exceeded(calls: int, cost: float, steps: list[tuple[float, float, str]]) -> None:
    budget, spent, made, flying = Budget(calls, cost), 0.0, 0, 0
    for most, share, what in steps:
        if not budget.reserve(most):
            continue
        made += 1
        if what == "answer":
            budget.settle(most, most * share)
            spent += most * share
        elif what == "fail":
            budget.release(most)
            made -= 1
        elif what == "lose":
            budget.lose()
            spent += most
        else:  # it stays in flight and may cost the most
            spent += most
            flying += 1
        assert made <= calls
        assert spent <= cost + 1e-9
    assert (budget.calls, budget.in_flight) == (made, flying)
    assert budget.cost == pytest.approx(spent)


def test_a_dated_model_has_the_price_of_the_undated_one() -> None:
    table = load_prices()
    assert table.find("gpt-4o-2024-08-06") == table.find("gpt-4o") == Price(2.5, 10.0)
    assert table.find("gpt-4o-mini") != table.find("gpt-4o")
    assert table.find("gpt-4o-audio") is None
    assert table.find("gpt-4o").times(table.batch_factor) == Price(1.25, 5.0)
    assert Price(2.5, 10.0).cost(1_000_000, 100_000) == pytest.approx(3.5)


@pytest.mark.parametrize(
    ("document", "pattern"),
    [
        ([], "is no price table"),
        ({"models": {"m": {"input": 1}}}, "price of 'm' needs numbers"),
        ({"models": {"m": {"input": -1, "output": 1}}}, "price of 'm' needs numbers"),
        ({"models": {"m": {"input": True, "output": 1}}}, "price of 'm' needs numbers"),
        ({"models": {}, "batch_factor": "half"}, "'batch_factor'"),
    ],
)
def test_an_unusable_price_table_is_one_line(document: object, pattern: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match=pattern):
        load_prices(file)
