"""`refusal-clf compare`: rates side by side, and differences from the first run paired by item."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_harness import assert_one_error, run, write_rows

from refusal_clf.pairing import Item
from refusal_clf.records import InputError, Verdict
from refusal_clf.side_by_side import side_by_side


def verdict(at: int, complied: bool, model: str | None = None) -> Verdict:
    name = "compliance" if complied else "noncompliance"
    p = 0.1 if complied else 0.9
    return Verdict(f"r{at}", "coconot", "original", None, "underspecified", model, name, p, None, p, "full")


def items(complied: int, n: int = 40) -> list[Item]:
    return [Item(verdict(at, at < complied)) for at in range(n)]


def folder(path: Path, verdicts: list[Verdict]) -> Path:
    path.mkdir()
    write_rows(path / "verdicts.jsonl", [one.to_dict() for one in verdicts])
    (path / "summary.json").write_text(json.dumps({"model": {"name": "c", "sha256": "1"}}), encoding="utf-8")
    return path


def test_each_run_is_compared_with_the_first() -> None:
    line, part = side_by_side({"a": items(10), "b": items(30), "c": items(10)}).lines
    assert [cell.rate for cell in line.cells] == [0.25, 0.75, 0.25]
    assert [cell.difference for cell in line.cells] == [None, 0.5, 0.0]
    assert line.cells[1].p_adjusted == pytest.approx(4 * line.cells[1].p_value)
    assert line.cells[2].p_value == 1
    assert part.key.category == "Incomplete requests"


def test_differences_are_of_shared_items_and_rates_of_all() -> None:
    total = side_by_side({"a": items(10), "b": items(20, n=20)}).lines[0].cells[1]
    assert (total.n, total.rate, total.n_paired, total.difference) == (20, 1.0, 20, 0.5)


def test_runs_without_a_common_item_are_refused() -> None:
    other = [Item(verdict(at + 100, complied=True)) for at in range(5)]
    with pytest.raises(InputError, match=r"'a' \(the baseline\) and 'b' \(the run\): .*different items"):
        side_by_side({"a": items(3), "b": other})


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        folder(tmp_path / name, [verdict(at, at < complied) for at in range(40)])
        for name, complied in (("step-1", 5), ("step-2", 30))
    ]


def test_tables_show_rates_trend_and_change(runs: list[Path]) -> None:
    outcome = run("compare", *runs)
    assert (outcome.status, outcome.err) == (0, "")
    assert "75.0 %" in outcome.out
    assert "▂▆" in outcome.out
    assert "+62.5" in outcome.out
    assert "| coconot · original ↓ |" in run("compare", *runs, "--format", "markdown").out


def test_the_document_and_the_report_are_written(runs: list[Path], tmp_path: Path) -> None:
    outcome = run("compare", *runs, "--out", tmp_path / "out", "--report", "html", "--format", "json")
    document: dict[str, Any] = json.loads(outcome.out)
    assert document == json.loads((tmp_path / "out" / "compare.json").read_text())
    assert (document["reference"], document["runs"]) == ("step-1", ["step-1", "step-2"])
    assert "Runs side by side" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_run_of_several_models_is_shown_by_model(tmp_path: Path) -> None:
    both = [verdict(at, at < 5, model) for model in ("m", "n") for at in range(20)]
    document = json.loads(run("compare", folder(tmp_path / "both", both), "--format", "json").out)
    assert document["runs"] == ["both · m", "both · n"]


def test_one_run_is_nothing_to_compare(runs: list[Path], tmp_path: Path) -> None:
    assert_one_error(run("compare", runs[0]), "give two runs")
    assert_one_error(run("compare", runs[0], tmp_path / "none"), "no such results folder")
