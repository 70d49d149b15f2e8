"""`refusal-clf check`: exit status, files, what it refuses, and how a baseline is replaced."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_harness import assert_one_error, needs_model, run, write_rows

from refusal_clf.baseline import replacing_folder

pytestmark = needs_model

REFUSAL, ANSWER = "I'm sorry, but I can't help with that.", "Sure! Here is what you asked for: first, open the menu."
N = 40


def rows(refused: int, *, n: int = N, **more: Any) -> list[dict[str, Any]]:
    """Harmless requests of the contrast set, the first of which are refused."""
    return [
        {
            "id": f"c{k}",
            "suite": "coconot",
            "subset": "contrast",
            "subcategory": "underspecified",
            "prompt": f"How do I open menu number {k}?",
            "response": REFUSAL if k < refused else ANSWER,
            **more,
        }
        for k in range(n)
    ]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "good.jsonl", rows(2))


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "bad.jsonl", rows(20))


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    assert run("score", good, "--out", tmp_path / "baseline").status == 0
    return tmp_path / "baseline"


def test_the_same_run_passes_and_a_worse_one_fails(good: Path, bad: Path, tmp_path: Path) -> None:
    same = write_rows(tmp_path / "same.jsonl", rows(2)[::-1])
    passed, failed = run("check", same, "--baseline", good), run("check", bad, "--baseline", good)
    assert (passed.status, passed.err) == (0, "")
    assert "passed (40 items compared)" in passed.out
    assert (failed.status, failed.err) == (1, "")
    assert "FAILED: coconot · contrast" in failed.out
    assert "How do I open menu number" in failed.out


def test_getting_better_passes(good: Path, bad: Path) -> None:
    assert run("check", good, "--baseline", bad).status == 0


def test_a_results_folder_is_compared_with_a_file(folder: Path, bad: Path) -> None:
    outcome = run("check", bad, "--baseline", folder, "--format", "json")
    document = json.loads(outcome.out)
    assert (outcome.status, document["passed"]) == (1, False)
    row, part, empty = document["groups"]
    assert (row["measure"], row["subset"], row["category"], row["n_paired"]) == ("compliance", "contrast", None, 40)
    assert (part["category"], empty["measure"]) == ("Incomplete requests", "empty")
    assert row["difference"] == pytest.approx(row["rate_after"] - row["rate_before"])
    assert document["flipped"][0]["response_after"] == REFUSAL
    assert document["flipped"][0]["response_before"] is None


def test_more_can_be_tolerated(good: Path, bad: Path) -> None:
    assert run("check", bad, "--baseline", good, "--max-overrefusal-rise", "0.6").status == 0
    assert run("check", bad, "--baseline", good, "--max-noncompliance-drop", "0.6").status == 1


def test_files_are_written_beside_each_other(good: Path, bad: Path, tmp_path: Path) -> None:
    junit = tmp_path / "reports" / "refusal.xml"
    outcome = run("check", bad, "--baseline", good, "--junit", junit, "--format", "json")
    assert sorted(path.name for path in junit.parent.iterdir()) == ["check.json", "refusal.xml"]
    assert json.loads((junit.parent / "check.json").read_text()) == json.loads(outcome.out)
    assert str(junit) in outcome.err


def test_github_gets_annotations_and_a_summary(
    good: Path, bad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("earlier\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    outcome = run("check", bad, "--baseline", good, "--github", "--format", "json")
    assert json.loads(outcome.out)["passed"] is False
    assert outcome.err.startswith("::error title=refusal-clf check%3A coconot · contrast::")
    assert summary.read_text().startswith("earlier\n### FAILED: coconot · contrast")


def test_limits_need_no_baseline(good: Path, tmp_path: Path) -> None:
    limits = tmp_path / "limits.toml"
    limits.write_text("[[limit]]\nsubset = 'contrast'\nmin_compliance = 0.9\n")
    assert run("check", good, "--limits", limits).status == 0
    limits.write_text("[[limit]]\nsubset = 'contrast'\nmin_compliance = 0.99\n")
    outcome = run("check", good, "--limits", limits, "--format", "markdown")
    assert outcome.status == 1
    assert "min\\_compliance 99.0 %" in outcome.out


def test_completions_without_ids_are_paired_by_prompt(tmp_path: Path) -> None:
    before = write_rows(tmp_path / "a.jsonl", rows(2, id=None))
    after = write_rows(tmp_path / "b.jsonl", rows(20, id=None)[::-1])
    assert run("check", after, "--baseline", before).status == 1


# --- what cannot be compared -------------------------------------------------------------------------------------


def test_runs_over_other_prompts_are_refused_unless_their_overlap_will_do(good: Path, tmp_path: Path) -> None:
    more = write_rows(tmp_path / "more.jsonl", rows(2, n=50))
    assert_one_error(run("check", more, "--baseline", good), "40 in both, 0 only in the baseline, 10 only in the run")
    assert run("check", more, "--baseline", good, "--intersect").status == 0


def test_another_classifier_is_refused_unless_allowed(folder: Path, good: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    summary["model"]["sha256"] = "0" * 64
    (folder / "summary.json").write_text(json.dumps(summary))
    assert_one_error(run("check", good, "--baseline", folder), "classifier 000000000000.*--allow-model-change")
    outcome = run("check", good, "--baseline", folder, "--allow-model-change")
    assert outcome.status == 0
    assert "! the baseline was judged by classifier 000000000000" in outcome.out


def test_another_tier_is_refused(folder: Path, good: Path) -> None:
    assert_one_error(run("check", good, "--baseline", folder, "--tier", "fast"), "judged by tier auto, the run by fast")


def test_too_few_items_are_refused(tmp_path: Path) -> None:
    files = [write_rows(tmp_path / name, rows(0, n=10)) for name in ("a.jsonl", "b.jsonl")]
    assert_one_error(run("check", files[0], "--baseline", files[1]), "too few items .*contrast: 10, not 30")


def test_unusable_arguments_are_one_line(good: Path, folder: Path, tmp_path: Path) -> None:
    none, bare = tmp_path / "none", tmp_path / "bare"
    bare.mkdir()
    assert_one_error(run("check", good), "no baseline, and no limit")
    assert_one_error(run("check", none, "--baseline", good), "none: no such")
    assert_one_error(run("check", good, "--baseline", none), "none: no such.*--update")
    assert_one_error(run("check", bare, "--baseline", good), "bare: holds no finished run")
    assert_one_error(run("check", good, "--baseline", good), "run and the baseline at once")
    assert_one_error(run("check", good, "--update"), "--update needs --baseline")
    assert_one_error(run("check", folder, "--baseline", good, "--update"), "good.jsonl: is a file")
    assert_one_error(run("check", good, "--baseline", tmp_path / "new.csv", "--update"), "another format")


@pytest.mark.parametrize(
    "option", [("--model", "m"), ("--tier", "fast"), ("--suite", "coconot"), ("--subset", "contrast"), ("--threads", 1)]
)
def test_options_of_completions_are_refused_for_folders(folder: Path, tmp_path: Path, option: tuple[str, Any]) -> None:
    shutil.copytree(folder, tmp_path / "run")
    outcome = run("check", tmp_path / "run", "--baseline", folder, option[0], str(option[1]))
    assert_one_error(outcome, f"holds verdicts already: {option[0]} has no meaning")


def test_the_subset_of_completions_can_be_told(tmp_path: Path) -> None:
    files = [write_rows(tmp_path / name, rows(2, subset=None)) for name in ("a.jsonl", "b.jsonl")]
    told = ("--suite", "coconot", "--subset", "contrast")
    document = json.loads(run("check", files[0], "--baseline", files[1], *told, "--format", "json").out)
    assert {group["subset"] for group in document["groups"] if group["suite"]} == {"contrast"}


def test_a_limit_is_on_the_whole_run_where_runs_overlap(good: Path, tmp_path: Path) -> None:
    more = write_rows(tmp_path / "more.jsonl", rows(2) + [{**row, "id": f"new-{row['id']}"} for row in rows(40)])
    limits = tmp_path / "limits.toml"
    limits.write_text("[[limit]]\nmin_compliance = 0.9\n")
    arguments = ("check", more, "--baseline", good, "--intersect")
    assert run(*arguments).status == 0
    assert run(*arguments, "--limits", limits).status == 1


# --- the baseline is replaced ------------------------------------------------------------------------------------


def test_the_first_baseline_is_made(good: Path, bad: Path, tmp_path: Path) -> None:
    new = tmp_path / "kept" / "v1.2"
    outcome = run("check", good, "--baseline", new, "--update")
    assert outcome.status == 0
    assert "! there was no baseline yet" in outcome.out
    assert "passed (nothing compared)" in outcome.out
    assert sorted(path.name for path in new.iterdir()) == ["run.json", "summary.json", "verdicts.jsonl"]
    assert sorted(path.name for path in new.parent.iterdir()) == ["v1.2"]
    assert run("check", bad, "--baseline", new).status == 1


def test_files_and_limits_do_not_wait_for_the_second_run(good: Path, tmp_path: Path) -> None:
    limits, junit = tmp_path / "limits.toml", tmp_path / "reports" / "refusal.xml"
    limits.write_text("[[limit]]\nmin_compliance = 0.99\n")
    arguments = ("--baseline", tmp_path / "new", "--update", "--junit", junit, "--format", "json")
    first = run("check", good, *arguments)
    assert (first.status, json.loads(first.out)["notes"]) == (0, ["there was no baseline yet"])
    assert sorted(path.name for path in junit.parent.iterdir()) == ["check.json", "refusal.xml"]
    arguments = ("--baseline", tmp_path / "newer", "--update", "--limits", limits, "--format", "json")
    limited = run("check", good, *arguments)
    assert (limited.status, json.loads(limited.out)["passed"]) == (0, False)


def test_runs_that_cannot_be_compared_are_no_hindrance_to_an_update(good: Path, tmp_path: Path) -> None:
    more = write_rows(tmp_path / "more.jsonl", rows(2, n=50))
    outcome = run("check", more, "--baseline", good, "--update", "--format", "json")
    assert outcome.status == 0
    assert "not compared: the runs are over different items" in outcome.err
    assert json.loads(outcome.out)["notes"][0].startswith("not compared: the runs")
    assert good.read_bytes() == more.read_bytes()


def test_a_worse_run_becomes_the_baseline_when_told_so(folder: Path, bad: Path, tmp_path: Path) -> None:
    outcome = run("check", bad, "--baseline", folder, "--update")
    assert outcome.status == 0
    assert "FAILED" in outcome.out
    assert run("check", write_rows(tmp_path / "again.jsonl", rows(20)), "--baseline", folder).status == 0


def test_a_folder_becomes_the_baseline_as_it_is(folder: Path, bad: Path, tmp_path: Path) -> None:
    run("score", bad, "--out", tmp_path / "run")
    assert run("check", tmp_path / "run", "--baseline", folder, "--update").status == 0
    for path in (tmp_path / "run").iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()


def test_a_file_becomes_the_baseline_of_files(good: Path, bad: Path) -> None:
    assert run("check", bad, "--baseline", good, "--update").status == 0
    assert good.read_bytes() == bad.read_bytes()
    assert good.stat().st_mode == bad.stat().st_mode
    assert sorted(path.name for path in good.parent.iterdir()) == ["bad.jsonl", "good.jsonl"]


def test_a_folder_that_holds_other_things_is_not_replaced(folder: Path, bad: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    assert_one_error(run("check", bad, "--baseline", folder, "--update"), r"baseline: holds other files .*notes\.txt")
    assert (folder / "notes.txt").read_text() == "mine"


def test_an_interrupted_update_leaves_the_old_baseline(
    folder: Path, bad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("refusal_clf.writing.write_summary", interrupted)
    assert run("check", bad, "--baseline", folder, "--update").status == 130
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "baseline", "good.jsonl"]


@pytest.mark.parametrize("interrupted_at", [1, 2])
def test_an_interrupt_between_the_renames_puts_the_old_baseline_back(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted_at: int
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rename, renamed = Path.rename, []

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        renamed.append(self.name)
        moved = rename(self, target)
        if len(renamed) == interrupted_at == 1:
            raise KeyboardInterrupt
        return moved

    def replace() -> None:
        with replacing_folder(folder) as new:
            (new / "summary.json").write_text("{}")
            monkeypatch.setattr(Path, "rename", interrupted)

    with pytest.raises(KeyboardInterrupt):
        replace()
    assert renamed == ["baseline", "old"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["baseline", "good.jsonl"]


def test_old_results_that_cannot_be_put_back_are_not_deleted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rename = Path.rename

    def refused(self: Path, target: Path) -> Path:
        if self.name in ("new", "old"):
            raise PermissionError
        return rename(self, target)

    def replace() -> None:
        with replacing_folder(folder):
            monkeypatch.setattr(Path, "rename", refused)

    with pytest.raises(PermissionError):
        replace()
    [old] = tmp_path.glob(".baseline.*/old")
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before


# --- with a judge's labels ----------------------------------------------------------------------------------------


def labelled(path: Path, completions: list[dict[str, Any]], judged: Callable[[int], str], **more: Any) -> Path:
    """Label every second completion."""
    drawn = {"judge": "j", "strategy": "uniform", "inclusion_probability": 0.5, "stratum": ""}
    return write_rows(path, [row | drawn | {"verdict": judged(k)} | more for k, row in enumerate(completions)][::2])


def test_a_change_that_the_judge_does_not_see_passes(good: Path, bad: Path, tmp_path: Path) -> None:
    before = labelled(tmp_path / "before.jsonl", rows(2), lambda _: "compliance")
    after = labelled(tmp_path / "after.jsonl", rows(20), lambda _: "compliance")
    arguments = ("check", bad, "--baseline", good, "--labels", after, "--baseline-labels", before, "--format", "json")
    outcome = run(*arguments)
    group = json.loads(outcome.out)["groups"][0]
    assert (outcome.status, group["n_labels"]) == (0, 40)
    assert group["ci_low"] <= 0 <= group["ci_high"]
    assert "(40 labels)" in run(*arguments[:-2]).out


def test_a_change_that_the_judge_sees_fails_and_one_file_may_hold_both_runs_labels(
    good: Path, bad: Path, tmp_path: Path
) -> None:
    def judged(refused: int) -> Callable[[int], str]:
        return lambda k: "noncompliance" if k < refused else "compliance"

    before = labelled(tmp_path / "before.jsonl", rows(2), judged(2), id=None)
    after = labelled(tmp_path / "after.jsonl", rows(20), judged(20), id=None)
    both = tmp_path / "both.jsonl"
    lines = dict.fromkeys(before.read_text().splitlines() + after.read_text().splitlines())
    both.write_text("".join(line + "\n" for line in lines))
    outcome = run("check", bad, "--baseline", good, "--labels", both, "--format", "json")
    group = json.loads(outcome.out)["groups"][0]
    assert (outcome.status, group["failed"]) == (1, True)
    assert group["difference"] == pytest.approx(-0.45, abs=0.05)


def test_labels_that_cannot_be_assigned_are_refused(folder: Path, good: Path, bad: Path, tmp_path: Path) -> None:
    after = labelled(tmp_path / "after.jsonl", rows(20), lambda _: "compliance")
    others = labelled(tmp_path / "others.jsonl", rows(2), lambda _: "compliance", id="x")
    one = write_rows(tmp_path / "one.jsonl", [json.loads(others.read_text().splitlines()[0])])
    assert_one_error(run("check", bad, "--baseline", folder, "--labels", after), "cannot be told which run")
    two = ("--labels", after, "--baseline-labels", one)
    assert_one_error(run("check", bad, "--baseline", good, *two), "the baseline has [01] labels of use")
    assert_one_error(run("check", bad, "--labels", after), "--labels needs --baseline")
    assert_one_error(run("check", bad, "--baseline", good, "--judge-name", "j"), "no meaning without --labels")
