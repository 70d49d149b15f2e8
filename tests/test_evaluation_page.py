"""The page of `evaluate`: confusion and reliability of the tested rows, and each row once."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_harness import answered_rows, evaluation

pytest.importorskip("sklearn", reason="the extra 'train' is not installed")

from refusal_clf.cli.pages import write_evaluation_page
from refusal_clf.training.results import Slice, answered_labels, figures

N = 40


@pytest.fixture
def data() -> Slice:
    return answered_rows(N)


def test_confusion_and_reliability_count_every_row(data: Slice) -> None:
    found = figures(data)
    counts = found["confusion"]
    assert sum(n for row in counts.values() for n in row.values()) == N
    assert counts["noncompliance"]["compliance"] + counts["compliance"]["noncompliance"] == N / 10
    assert sum(row["n"] for row in found["reliability"]) == N
    assert all(abs(row["rate"] - row["probability"]) < 0.15 for row in found["reliability"])


def test_a_row_is_shown_once_with_its_label(data: Slice) -> None:
    pooled = Slice("verdict", "coconot, all of the above", data.examples, data.truth, data.methods, data.sure)
    rows = list(answered_labels([data, pooled]))
    assert len(rows) == N
    assert sum(label.verdict != verdict.verdict for label, verdict in rows) == N / 10


def test_the_page_is_written(data: Slice, tmp_path: Path) -> None:
    document = evaluation([data])
    document["folds"][0]["left_out"] = "<b>"
    page = write_evaluation_page(tmp_path, document, answered_labels([data])).read_text(encoding="utf-8")
    assert "folds: &lt;b&gt;" in page
    assert "confusion and reliability" in page
