"""The page of `evaluate`: confusion and reliability of the tested rows, and each row once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refusal_clf.records import VERDICTS, Completion, Label

pytest.importorskip("sklearn", reason="the extra 'train' is not installed")

from refusal_clf.cli.pages import write_evaluation_page
from refusal_clf.training.dataset import Example
from refusal_clf.training.results import Slice, answered_labels, figures

N = 40


@pytest.fixture
def data() -> Slice:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, N)
    ours = np.full((N, 3), 0.05, np.float32)
    # Every tenth answer is wrong.
    said = np.where(np.arange(N) % 10 == 0, 1 - truth, truth)
    ours[np.arange(N), said] = 0.9
    examples = []
    for at in range(N):
        one = Completion(f"q{at}", f"a{at}", f"r{at}", "coconot", "original", None, "underspecified", "m")
        label = Label(one, VERDICTS[truth[at]], None, "gpt", "m")
        examples.append(Example(None, label, int(truth[at]), -1, "m", "m", "0"))  # type: ignore[arg-type]
    methods = {"refusal-clf": ours, "TF-IDF": ours[:, ::-1].copy()}
    return Slice("verdict", "m", examples, truth, methods, np.arange(N) % 2 == 0)


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
    document = {
        "protocol": "grouped",
        "part": "all",
        "n_examples": N,
        "folds": [{"left_out": "<b>", "n_train": 1, "n_test": 1}],
        "results": [figures(data)],
    }
    page = write_evaluation_page(tmp_path, document, answered_labels([data])).read_text(encoding="utf-8")
    assert "folds: &lt;b&gt;" in page
    assert "confusion and reliability" in page
