"""A batch of any kind comes back with the verdicts that the same rows get alone, or one clear error."""

import copy
import json
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refusal_clf import RefusalClassifier
from refusal_clf.integrations import ray_data
from refusal_clf.integrations.batches import VERDICT_COLUMNS, BatchScorer
from refusal_clf.reading import read_completions
from refusal_clf.records import InputError

pd = pytest.importorskip("pandas", reason="needs the extra `pandas`")
pa = pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def scorer(model_dir):
    return BatchScorer.load(model_dir, tier="fast")


@pytest.fixture(scope="module")
def rows(samples):
    return [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def expected(model_dir, samples):
    verdicts = RefusalClassifier.load(model_dir).stream(read_completions(samples), tier="fast")
    return [{name: verdict.to_dict()[name] for name in VERDICT_COLUMNS} for verdict in verdicts]


def columns_of(rows):
    return {name: [row.get(name) for row in rows] for name in rows[0]}


def cells(frame):
    """Return a frame's verdict columns as rows of plain values."""
    records = frame[list(VERDICT_COLUMNS)].to_dict("records")
    return [{name: None if value != value else value for name, value in row.items()} for row in records]


class TestKindsOfBatches:
    def test_a_data_frame_keeps_its_columns_index_and_order(self, scorer, rows, expected):
        frame = pd.DataFrame(rows, index=range(100, 100 + len(rows)))
        scored = scorer(frame)
        assert scored[frame.columns].equals(frame)
        assert list(scored.columns) == [*frame.columns, *VERDICT_COLUMNS]
        assert cells(scored) == expected

    def test_an_arrow_table_keeps_its_columns_and_order(self, scorer, rows, expected):
        table = pa.Table.from_pylist(rows)
        scored = scorer(table)
        assert scored.select(table.column_names) == table
        assert scored.select(VERDICT_COLUMNS).to_pylist() == expected

    def test_a_record_batch_stays_one(self, scorer, rows):
        assert isinstance(scorer(pa.RecordBatch.from_pylist(rows[:2])), pa.RecordBatch)

    def test_a_polars_frame_keeps_its_columns_and_order(self, scorer, rows, expected):
        pl = pytest.importorskip("polars", reason="needs the extra `polars`")
        frame = pl.DataFrame(rows)
        scored = scorer(frame)
        assert scored.select(frame.columns).equals(frame)
        assert scored.select(VERDICT_COLUMNS).to_dicts() == expected

    def test_a_lazy_polars_frame_stays_lazy_and_knows_its_columns(self, scorer, rows, expected):
        pl = pytest.importorskip("polars", reason="needs the extra `polars`")
        lazy = scorer(pl.LazyFrame(rows))
        assert isinstance(lazy, pl.LazyFrame)
        kinds = {name: pl.Float64() if name.startswith("p_") else pl.String() for name in VERDICT_COLUMNS}
        types = lazy.collect_schema()
        assert {name: types[name] for name in VERDICT_COLUMNS} == {**kinds, "flags": pl.List(pl.String)}
        for engine in ("in-memory", "streaming"):
            assert lazy.select(VERDICT_COLUMNS).collect(engine=engine).to_dicts() == expected
        empty = scorer(pl.LazyFrame(rows).limit(0)).collect()
        assert empty.schema == types
        with pytest.raises(InputError, match="has a column 'flags' already"):
            scorer(lazy)

    @pytest.mark.parametrize("kind", [list, np.array], ids=["lists", "arrays"])
    def test_a_mapping_of_columns_keeps_them(self, scorer, rows, expected, kind):
        columns = {name: kind(values) for name, values in columns_of(rows).items()}
        scored = scorer(columns)
        assert all(scored[name] is values for name, values in columns.items())
        assert columns_of(expected) == {name: scored[name] for name in VERDICT_COLUMNS}

    def test_an_iterator_of_batches_is_answered_lazily(self, scorer, rows, expected):
        read = []

        def batches():
            for at in range(0, len(rows), 50):
                read.append(at)
                yield pd.DataFrame(rows[at : at + 50])

        scored = scorer(batches())
        first = next(scored)
        assert read == [0]
        assert cells(pd.concat([first, *scored])) == expected

    def test_a_table_has_the_same_types_whatever_its_rows(self, scorer, rows):
        table = pa.Table.from_pylist(rows)
        empty = next(row for row in rows if not row["response"])
        without_flags_or_class = pa.Table.from_pylist([empty], schema=table.schema)
        types = scorer(table).schema
        assert scorer(table.slice(0, 0)).schema == types
        assert scorer(without_flags_or_class).schema == types

    def test_a_frame_without_rows_gets_the_columns(self, scorer, rows):
        assert list(scorer(pd.DataFrame(rows).iloc[:0]).columns)[-len(VERDICT_COLUMNS) :] == list(VERDICT_COLUMNS)


class TestRows:
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(cuts=st.lists(st.integers(0, 60), max_size=4).map(sorted))
    def test_verdicts_do_not_depend_on_how_rows_are_cut_into_batches(self, scorer, rows, expected, cuts):
        edges = [0, *cuts, 60]
        parts = [scorer(columns_of(rows[a:b])) for a, b in pairwise(edges) if a < b]
        joined = {name: [value for part in parts for value in part[name]] for name in VERDICT_COLUMNS}
        assert joined == columns_of(expected[:60])

    def test_names_and_chats_are_read_as_from_files(self, scorer):
        chat = [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "I can't tell you that."}]
        plain = scorer({"prompt": ["Who are you?"], "response": ["I can't tell you that."]})
        for batch in (
            pd.DataFrame({"instruction": ["Who are you?"], "output": ["I can't tell you that."]}),
            pd.DataFrame({"messages": [np.array(chat)]}),
            pa.table({"messages": [chat]}).to_pandas(),
        ):
            assert scorer(batch)["p_refusal"].tolist() == plain["p_refusal"]

    def test_columns_that_are_named_are_read_and_no_others(self, model_dir, scorer):
        named = BatchScorer.load(model_dir, tier="fast", prompt="Q", response="gpt-4 says", subcategory="rubric")
        asked = {
            "prompt": ["Another question"],
            "Q": ["Who are you?"],
            "response": ["Something else."],
            "gpt-4 says": ["I can't tell you that."],
            "messages": [[{"role": "assistant", "content": "And more."}]],
            "resps": [["And more."]],
            "rubric": ["underspecified"],
            "sub_category": ["privacy violations"],
        }
        plain = {"prompt": asked["Q"], "response": asked["gpt-4 says"], "subcategory": asked["rubric"]}
        scores = scorer(plain)
        assert {name: named(asked)[name] for name in VERDICT_COLUMNS} == {
            name: scores[name] for name in VERDICT_COLUMNS
        }

    def test_nothing_stands_in_for_a_named_column_without_a_value(self, model_dir):
        named = BatchScorer.load(model_dir, tier="fast", response="ours")
        batch = {"prompt": ["Who are you?"], "theirs": ["A machine."], "output": ["A machine."], "ours": [None]}
        assert named(batch)["flags"] == [["empty"]]

    def test_a_named_column_that_is_not_there_is_an_error_that_skipping_does_not_hide(self, model_dir):
        named = BatchScorer.load(model_dir, tier="fast", response="ours", on_error="skip")
        with pytest.raises(InputError, match=r"no column 'ours' for the response \(found: prompt, response\)"):
            named({"prompt": ["Who are you?"], "response": ["A machine."]})

    @pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT], ids=["None", "nan", "NA", "NaT"])
    def test_every_kind_of_missing_is_an_empty_response(self, scorer, missing):
        frame = pd.DataFrame({"prompt": ["a", "b"], "response": pd.Series([missing, "Of course."], dtype="object")})
        scored = scorer(frame)
        assert scored["flags"].tolist()[0] == ["empty"]
        assert scored["refusal"].tolist()[0] is None

    def test_a_frames_columns_may_have_names_that_are_no_text(self, scorer):
        frame = pd.DataFrame({"prompt": ["a"], "response": ["Of course."], 0: ["more"], ("a", 1): [2]})
        scored = scorer(frame)
        assert list(scored.columns) == [*frame.columns, *VERDICT_COLUMNS]
        assert scored["verdict"].tolist() == scorer(frame[["prompt", "response"]])["verdict"].tolist()

    def test_an_unusable_row_is_named(self, scorer):
        with pytest.raises(InputError, match=r"^batch:2: field 'response' is a number, not text$"):
            scorer({"prompt": ["a", "b"], "response": ["Yes.", 7]})

    def test_a_skipped_row_stays_with_null_verdicts(self, scorer):
        skipping = replace(scorer, on_error="skip")
        scored = skipping({"prompt": ["a", "b", "c"], "response": ["I can't.", 7, "Of course."]})
        assert [scored[name][1] for name in VERDICT_COLUMNS] == [None] * len(VERDICT_COLUMNS)
        alone = scorer({"prompt": ["a", "c"], "response": ["I can't.", "Of course."]})
        assert scored["p_refusal"][::2] == alone["p_refusal"]

    def test_no_response_column_is_an_error_even_when_rows_are_skipped(self, scorer):
        with pytest.raises(InputError, match="no response field"):
            replace(scorer, on_error="skip")(pd.DataFrame({"prompt": ["a"]}))

    def test_a_column_is_never_overwritten(self, scorer):
        batch = {"response": ["Yes."], "verdict": ["compliance"]}
        with pytest.raises(InputError, match="has a column 'verdict' already"):
            scorer(batch)
        scored = replace(scorer, prefix="clf_")(batch)
        assert scored["verdict"] == ["compliance"]
        assert [name for name in scored if name.startswith("clf_")] == ["clf_" + name for name in VERDICT_COLUMNS]

    def test_suite_and_subset_reach_every_row(self, model_dir, scorer):
        batch = {"prompt": ["What is the meaning of life?"], "response": ["It is 42, as some would say."]}
        forced = BatchScorer.load(model_dir, tier="fast", suite="coconot", subset="original")
        assert forced(batch)["p_noncompliance"] != scorer(batch)["p_noncompliance"]


class TestWorkers:
    def test_a_scorer_travels_without_its_model(self, scorer):
        scorer({"response": ["Yes."]})  # loads the model
        assert sum(len(repr(part)) for part in scorer.__reduce_ex__(4)) < 2000
        assert copy.copy(scorer) == scorer

    def test_a_worker_with_another_model_refuses_to_answer(self, scorer):
        with pytest.raises(InputError, match="install the same refusal-clf everywhere"):
            replace(scorer, sha256="0" * 64)({"response": ["Yes."]})

    def test_what_is_wrong_with_the_options_is_said_before_any_worker_starts(self):
        with pytest.raises(InputError, match="no model 'nonesuch'"):
            BatchScorer.load("nonesuch")
        with pytest.raises(InputError, match="unknown suite"):
            BatchScorer.load(suite="nonesuch")


def test_without_ray_its_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    monkeypatch.setattr(sys, "argv", ["ray_data", "in.jsonl", "out"])
    with pytest.raises(SystemExit) as stopped:
        ray_data.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "refusal-clf: error: this needs Ray: pip install 'refusal-clf[ray]'\n"


def test_a_list_of_rows_is_no_batch(scorer, rows):
    with pytest.raises(InputError, match="list is no batch"):
        scorer(rows)


def test_hugging_face_datasets_map_it(scorer, rows, expected, tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs Hugging Face datasets")
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path)
    dataset = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path))
    scored = dataset.with_format("arrow").map(scorer, batched=True, batch_size=64).with_format(None)
    assert [{name: row[name] for name in VERDICT_COLUMNS} for row in scored] == expected
