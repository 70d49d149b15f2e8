"""Spark's `mapInPandas` gives every row the verdict that a single process gives it."""

import json
import shutil
import sys

import pytest

from refusal_clf import RefusalClassifier
from refusal_clf.integrations.batches import VERDICT_COLUMNS, BatchScorer
from refusal_clf.reading import read_completions

sql = pytest.importorskip("pyspark.sql", reason="needs the extra `spark`")
if shutil.which("java") is None:
    pytest.skip("Spark needs a Java runtime", allow_module_level=True)


@pytest.fixture(scope="module")
def spark():
    session = (
        sql.SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "40")
        .config("spark.executorEnv.PYTHONPATH", ":".join(path for path in sys.path if path))
        .config("spark.pyspark.python", sys.executable)
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


def test_every_row_gets_its_verdict_and_keeps_its_columns(spark, model_dir, samples):
    scorer = BatchScorer.load(model_dir)
    frame = spark.read.json(str(samples)).repartition(3)
    scored = frame.mapInPandas(scorer, scorer.spark_schema(frame.schema))
    assert scored.columns == [*frame.columns, *VERDICT_COLUMNS]
    found = {row["id"]: row.asDict() for row in scored.collect()}
    rows = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    verdicts = [v.to_dict() for v in RefusalClassifier.load(model_dir).stream(read_completions(samples))]
    assert found == {
        row["id"]: {**row, **{name: verdict[name] for name in VERDICT_COLUMNS}}
        for row, verdict in zip(rows, verdicts, strict=True)
    }


def test_chats_in_columns_of_structs_are_read(spark, model_dir):
    scorer = BatchScorer.load(model_dir, tier="fast")
    turns = [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "I can't tell you that."}]
    frame = spark.createDataFrame([(turns,)], "messages array<struct<role: string, content: string>>")
    [row] = frame.mapInPandas(scorer, scorer.spark_schema(frame.schema)).collect()
    plain = scorer({"prompt": ["Who are you?"], "response": ["I can't tell you that."]})
    assert row["p_refusal"] == plain["p_refusal"][0]
