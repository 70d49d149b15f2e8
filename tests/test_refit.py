"""`calibrate --refit`: temperatures fitted on labels, and the model directories that come of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_harness import assert_one_error, needs_model, process, run, write_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from refusal_clf.calibration.refitting import at_temperature, fit_temperature, refit
from refusal_clf.classifier import RefusalClassifier
from refusal_clf.reading import read_completions
from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, Completion, InputError
from refusal_clf.runtime.tempering import tempered

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

TRUE_TEMPERATURE = 3.0
"""At which the labels of the command line's tests are drawn: the model's probabilities are far too sure for them."""
FAST = ("--tier", "fast")


def simulated(n: int, temperature: float, seed: int = 0) -> tuple[Floats, Labels]:
    """Return probabilities of three labels, and labels that are as likely as those at another temperature."""
    random = np.random.default_rng(seed)
    scores = random.normal(0, 3, (n, 3))
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return probabilities, drawn(probabilities, temperature, random)


def drawn(probabilities: Floats, temperature: float, random: np.random.Generator) -> Labels:
    cumulative = at_temperature(probabilities, temperature).cumsum(1)
    return (random.uniform(size=(len(cumulative), 1)) > cumulative[:, :-1]).sum(1)


def prompts(n: int) -> list[str]:
    return [f"question {number}" for number in range(n)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_at_is_found(temperature: float) -> None:
    probabilities, truth = simulated(5_000, temperature)
    assert fit_temperature(probabilities, truth, np.ones(5_000)) == pytest.approx(temperature, rel=0.08)


def test_probabilities_that_were_too_sure_improve_on_labels_held_out() -> None:
    probabilities, truth = simulated(600, 2.5)
    fit = refit(probabilities, truth, np.ones(600), prompts(600))
    assert fit.improves
    assert fit.after.log_loss < fit.before.log_loss - 0.1
    assert fit.after.brier < fit.before.brier
    assert fit.after.ece < fit.before.ece


def test_probabilities_that_were_right_seldom_seem_to_improve() -> None:
    """A gain of one standard error is had by chance in about one of six; fitting costs most of these."""
    fits = [refit(*simulated(200, 1.0, seed), np.ones(200), prompts(200)) for seed in range(60)]
    assert sum(fit.improves for fit in fits) <= 6


def test_labels_that_contradict_a_model_nowhere_do_not_say_how_sure_it_may_be() -> None:
    probabilities, _ = simulated(100, 1.0)
    fit = refit(probabilities, probabilities.argmax(1), np.ones(100), prompts(100))
    assert fit.after.log_loss < fit.before.log_loss - fit.gain_error
    assert not fit.improves


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=60, max_size=60), st.floats(0.4, 3.0))
def test_a_weight_of_k_is_k_equal_rows(weights: list[int], temperature: float) -> None:
    probabilities, truth = simulated(60, temperature)
    weighted = fit_temperature(probabilities, truth, np.array(weights, float))
    repeated = fit_temperature(probabilities.repeat(weights, 0), truth.repeat(weights), np.ones(sum(weights)))
    assert weighted == pytest.approx(repeated, rel=1e-6)


def test_a_prompt_that_is_asked_twice_is_no_second_evidence() -> None:
    probabilities, truth = simulated(100, 2.5)
    once = refit(probabilities, truth, np.ones(100), prompts(100))
    twice = refit(probabilities.repeat(2, 0), truth.repeat(2), np.ones(200), [p for p in prompts(100) for _ in "ab"])
    assert twice.gain_error == pytest.approx(once.gain_error)
    assert twice.after.log_loss == pytest.approx(once.after.log_loss)


@pytest.mark.parametrize(
    ("n", "questions", "message"), [(49, prompts(49), "49 labels are too few"), (60, ["one"] * 60, "of 1 prompts")]
)
def test_too_few_labels_or_prompts_are_refused(n: int, questions: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        refit(*simulated(n, 2.0), np.ones(n), questions)


@pytest.fixture(scope="module")
def completions(samples: Path) -> list[Completion]:
    return list(read_completions(samples))


@pytest.fixture(scope="module")
def probabilities(model_dir: Path, completions: list[Completion]) -> Floats:
    return RefusalClassifier.load(model_dir).probabilities(completions, tier="fast").astype(np.float64)


@pytest.fixture(scope="module")
def rows(completions: list[Completion], probabilities: Floats) -> list[dict[str, Any]]:
    """Return labels of both kinds, as a judge gives them that the model is too sure for."""
    random = np.random.default_rng(1)
    told = np.flatnonzero(~np.isnan(probabilities[:, 0])).tolist()
    verdicts, refusals = (
        drawn(probabilities[told, first : first + 3], TRUE_TEMPERATURE, random).tolist() for first in (0, 3)
    )
    return [
        {"id": completions[place].id, "verdict": VERDICTS[v], "refusal": REFUSAL_CLASSES[r], "judge": "gpt"}
        for place, v, r in zip(told, verdicts, refusals, strict=True)
    ]


@pytest.fixture(scope="module")
def refitted(samples: Path, rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refitted")
    labels = write_rows(folder / "labels.jsonl", rows)
    outcome = run("calibrate", samples, "--labels", labels, "--refit", folder / "model", *FAST, "--format=json")
    assert outcome.status == 0, outcome.err
    assert json.loads(outcome.out)["judge"] == "gpt"
    assert "wrote the model with refitted verdict and refusal probabilities" in outcome.err
    return folder / "model"


@pytest.fixture(scope="module")
def results(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "before"
    assert run("score", samples, "--out", folder, *FAST).status == 0
    return folder


@needs_model
def test_the_written_model_is_verified_and_another_one(refitted: Path, model_dir: Path, probabilities: Floats) -> None:
    before, after = RefusalClassifier.load(model_dir), RefusalClassifier.load(refitted)
    assert after.sha256 != before.sha256
    assert after.config.files == before.config.files
    told = after.config.provenance["refit"]
    assert (told["of"], told["judge"]) == ({"name": before.name, "sha256": before.sha256}, "gpt")
    assert list(told["labels"]) == ["labels.jsonl"]
    assert told["heads"]["verdict"]["temperature"] == pytest.approx(TRUE_TEMPERATURE, rel=0.35)
    assert "calibrate --refit" in (refitted / "README.md").read_text(encoding="utf-8")


@needs_model
def test_its_probabilities_are_the_old_ones_at_the_fitted_temperatures(
    refitted: Path, completions: list[Completion], model_dir: Path
) -> None:
    clf = RefusalClassifier.load(refitted)
    heads = clf.config.provenance["refit"]["heads"]
    some = completions[:40]
    before = RefusalClassifier.load(model_dir).probabilities(some, tier="full").astype(np.float64)
    after = clf.probabilities(some, tier="full")
    for first, head in ((0, "verdict"), (3, "refusal")):
        expected = at_temperature(before[:, first : first + 3], heads[head]["temperature"])
        np.testing.assert_allclose(after[:, first : first + 3], expected, atol=1e-4)


@needs_model
def test_check_refuses_to_compare_it_with_the_model_before(
    refitted: Path, results: Path, samples: Path, tmp_path: Path
) -> None:
    assert run("score", samples, "--model", refitted, "--out", tmp_path / "after", *FAST).status == 0
    assert_one_error(run("check", tmp_path / "after", "--baseline", results), "classifier .*--allow-model-change")


@needs_model
@pytest.mark.parametrize("temperature", [0.7, 1.5])
def test_tiers_and_doubts_stay_for_all_but_six_in_a_hundred(
    temperature: float, model_dir: Path, completions: list[Completion]
) -> None:
    before = RefusalClassifier.load(model_dir)
    verdict, refusal = (tempered(head, temperature) for head in (before.config.verdict, before.config.refusal))
    after = RefusalClassifier(model_dir, replace(before.config, verdict=verdict, refusal=refusal), before.threads)
    pairs = list(zip(before.stream(completions), after.stream(completions), strict=True))
    assert {"fast", "full"} <= {old.tier for old, _ in pairs}
    assert sum(old.tier != new.tier for old, new in pairs) <= 0.06 * len(pairs)
    assert sum(old.flags != new.flags for old, new in pairs) <= 0.06 * len(pairs)
    of_one_tier = [(old, new) for old, new in pairs if old.tier == new.tier]
    assert all(old.verdict == new.verdict for old, new in of_one_tier)


@needs_model
def test_labels_count_by_the_completions_that_they_stand_for(
    samples: Path, rows: list[dict[str, Any]], completions: list[Completion], probabilities: Floats, tmp_path: Path
) -> None:
    chances = [0.25 + 0.7 * (at % 2) for at in range(len(rows))]
    weighed = [
        row | {"strategy": "uncertain", "stratum": "s", "inclusion_probability": chance}
        for row, chance in zip(rows, chances, strict=True)
    ]
    labels = write_rows(tmp_path / "labels.jsonl", weighed)
    assert run("calibrate", samples, "--labels", labels, "--refit", tmp_path / "model", *FAST).status == 0
    place_of = {completion.id: place for place, completion in enumerate(completions)}
    probability = probabilities[[place_of[row["id"]] for row in rows], :3]
    truth = np.array([VERDICTS.index(row["verdict"]) for row in rows])
    found = RefusalClassifier.load(tmp_path / "model").config.provenance["refit"]["heads"]["verdict"]["temperature"]
    assert found == pytest.approx(fit_temperature(probability, truth, 1 / np.array(chances)), rel=1e-3)
    assert found != pytest.approx(fit_temperature(probability, truth, np.ones(len(truth))), rel=1e-3)


@needs_model
def test_nothing_is_written_where_nothing_is_gained(
    samples: Path, rows: list[dict[str, Any]], completions: list[Completion], probabilities: Floats, tmp_path: Path
) -> None:
    # Labels as likely as the model says: it needs no other temperature for them.
    place_of = {completion.id: place for place, completion in enumerate(completions)}
    told = [place_of[row["id"]] for row in rows]
    truth = drawn(probabilities[told, :3], 1.0, np.random.default_rng(2)).tolist()
    labels = write_rows(
        tmp_path / "labels.jsonl",
        [{"id": row["id"], "verdict": VERDICTS[v], "judge": "gpt"} for row, v in zip(rows, truth, strict=True)],
    )
    outcome = run("calibrate", samples, "--labels", labels, "--refit", tmp_path / "model", *FAST)
    assert outcome.status == 0
    assert "no model written" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["labels.jsonl"]


@needs_model
def test_completions_from_standard_input_do_as_well(samples: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    labels = write_rows(tmp_path / "labels.jsonl", rows)
    text = samples.read_text(encoding="utf-8")
    outcome = process("calibrate", "-", "--labels", labels, "--refit", tmp_path / "model", *FAST, stdin=text)
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "model" / "config.json").is_file()


@needs_model
def test_what_cannot_be_refitted_is_refused_before_anything_is_printed(
    samples: Path, results: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    labels, few = write_rows(tmp_path / "labels.jsonl", rows), write_rows(tmp_path / "few.jsonl", rows[:49])
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine", encoding="utf-8")
    model = tmp_path / "model"
    for arguments, message in (
        ((samples, "--labels", few, "--refit", model, *FAST), "49 labels are too few"),
        ((samples, "--labels", labels, "--refit", taken), "this exists"),
        ((results, "--labels", labels, "--refit", model), "results hold rounded probabilities"),
        ((results / "verdicts.jsonl", "--labels", labels, "--refit", model), "results hold rounded probabilities"),
    ):
        assert_one_error(run("calibrate", *arguments), message)
    assert (taken / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert not model.exists()
