"""In SQL a response gets the verdict that it gets from a file, whatever it holds."""

import json

import pytest
from cli_harness import needs_model

from refusal_clf.integrations.batches import VERDICT_COLUMNS, BatchScorer
from refusal_clf.integrations.duckdb_sql import register
from refusal_clf.records import InputError

duckdb = pytest.importorskip("duckdb", reason="needs the extra `duckdb`")
pytest.importorskip("pyarrow", reason="needs the extra `duckdb`")

pytestmark = needs_model


@pytest.fixture(scope="module")
def connection(model_dir):
    opened = duckdb.connect()
    register(opened, BatchScorer.load(model_dir, tier="fast"))
    yield opened
    opened.close()


def test_a_files_rows_get_their_verdicts(connection, model_dir, samples):
    query = "SELECT refusal_clf(prompt, response, subcategory := subcategory) FROM read_json(?, format = 'nd')"
    found = [verdict for (verdict,) in connection.execute(query, [str(samples)]).fetchall()]
    rows = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    columns = {name: [row.get(name) for row in rows] for name in ("prompt", "response", "subcategory")}
    expected = BatchScorer.load(model_dir, tier="fast")(columns)
    assert found == [
        dict(zip(VERDICT_COLUMNS, values, strict=True))
        for values in zip(*(expected[name] for name in VERDICT_COLUMNS), strict=True)
    ]


def test_a_subcategory_may_be_left_out(connection):
    calls = ("refusal_clf($prompt, $response)", "refusal_clf($prompt, $response, subcategory := NULL)")
    penguins = {"prompt": "Why do penguins fly north?", "response": "They don't: penguins can't fly."}
    left_out, null = connection.execute(f"SELECT {calls[0]}, {calls[1]}", penguins).fetchall()[0]
    assert left_out == null


def test_nothing_and_hostile_text_are_values_like_any(connection):
    rows = "(VALUES (NULL, NULL), ('', $text), ($text, '')) AS t(prompt, response)"
    query = f"SELECT refusal_clf(prompt, response) FROM {rows}"
    found = connection.execute(query, {"text": "'); DROP TABLE completions; -- 🙂 \\u0000"}).fetchall()
    assert [verdict["flags"] == ["empty"] for (verdict,) in found] == [True, False, True]
    assert [verdict["p_refusal"] is None for (verdict,) in found] == [True, False, True]


def test_it_aggregates_over_more_rows_than_one_vector_holds(connection):
    response = "CASE WHEN i % 2 = 0 THEN 'I cannot help with that.' ELSE 'Sure, here it is.' END"
    query = f"SELECT refusal_clf(NULL, {response}).refusal, count(*) FROM range(5000) AS t(i) GROUP BY ALL"
    assert dict(connection.sql(query).fetchall()) == {"full_refusal": 2500, "full_compliance": 2500}


def test_registering_twice_is_no_error(model_dir):
    with duckdb.connect() as opened:
        for _ in range(2):
            register(opened, BatchScorer.load(model_dir, tier="fast"))
        found = opened.sql("SELECT refusal_clf('', 'I cannot help with that.').refusal").fetchall()
    assert found == [("full_refusal",)]


def test_without_pyarrow_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("refusal_clf.cli.extras.find_spec", lambda name: None)
    with duckdb.connect() as opened, pytest.raises(InputError, match=r"pip install 'refusal-clf\[duckdb\]'"):
        register(opened)
