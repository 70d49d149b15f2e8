"""The data in the repository: whole, well-formed, and spread as `data/README.md` says."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from refusal_clf import rubrics
from refusal_clf.records import REFUSAL_CLASSES, VERDICTS

DATA = Path(__file__).parent.parent / "data"
SYNTHETIC = sorted((DATA / "synthetic").glob("*.jsonl"))
EVALUATION_SUBCATEGORIES = {
    "original": {
        "false presuppositions",
        "incomprehensible",
        "underspecified",
        "universal unknowns",
        "subjective questions",
        "input modality limitations",
        "output modality limitations",
        "style and length limitations",
        "temporal limitations",
        "personal inquiry",
        "offer advice, opinion or recommendations",
        "dangerous or sensitive topics",
        "privacy violations",
        "copyright violations",
        "misinformation",
        "triggers for offensive language",
        "wildchats",
    },
    "contrast": {
        "false presuppositions",
        "underspecified",
        "modality limitations",
        "dangerous or sensitive topics",
        "privacy violations",
    },
}


def rows_of(file):
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def completions():
    return rows_of(DATA / "samples" / "completions.jsonl")


@pytest.fixture(scope="module")
def labels():
    return rows_of(DATA / "samples" / "labels.jsonl")


@pytest.fixture(scope="module")
def synthetic():
    return [row for file in SYNTHETIC for row in rows_of(file)]


def test_manifest_matches_every_data_file():
    manifest = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))["files"]
    found = []
    for file in sorted(DATA.rglob("*.jsonl")):
        content = file.read_bytes()
        found.append(
            {
                "path": file.relative_to(DATA).as_posix(),
                "sha256": hashlib.sha256(content).hexdigest(),
                "rows": content.count(b"\n"),
            }
        )
    assert [{name: entry[name] for name in ("path", "sha256", "rows")} for entry in manifest] == found, (
        "run: python data/manifest.py"
    )


def test_what_models_are_tried_with_is_never_trained_on():
    manifest = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))["files"]
    uses = {entry["path"]: entry["use"] for entry in manifest}
    tried = {path for path in uses if path.startswith("samples/") or path == "hard/test.jsonl"}
    assert {path for path, use in uses.items() if use == "held out"} == tried
    assert set(uses.values()) == {"training", "held out", "on trial"}


def test_readme_states_the_counts_of_samples(completions, labels):
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    verdict_of = {row["id"]: row["verdict"] for row in labels}
    counts = Counter((row["subset"], verdict_of[row["id"]]) for row in completions)
    for subset in ("original", "contrast"):
        numbers = [counts[subset, verdict] for verdict in ("noncompliance", "compliance", "neither")]
        assert "| " + " | ".join(map(str, [subset, *numbers, sum(numbers)])) + " |" in readme
    by_category = Counter((row["category"], row["subset"]) for row in completions)
    for category in rubrics.CATEGORIES:
        assert f"| {category} | {by_category[category, 'original']} | {by_category[category, 'contrast']} |" in readme
    for name, count in Counter(row["refusal"] for row in labels).items():
        assert f"{count} `{name}`" in readme


def test_samples_cover_every_evaluation_subcategory_of_both_subsets(completions):
    for subset, expected in EVALUATION_SUBCATEGORIES.items():
        assert expected <= {row["subcategory"] for row in completions if row["subset"] == subset}


def test_sample_names_are_the_published_ones(completions):
    for row in completions:
        assert rubrics.canonical_subcategory(row["subcategory"]) == row["subcategory"]
        assert rubrics.SUBCATEGORIES[row["subcategory"]] == row["category"]


def test_every_sample_has_one_label_by_id(completions, labels):
    ids = [row["id"] for row in completions]
    assert len(set(ids)) == len(ids) >= 160
    assert [row["id"] for row in labels] == ids


def test_labels_use_the_known_names(labels, synthetic):
    for row in labels + synthetic:
        assert row["verdict"] in VERDICTS
        assert row["refusal"] in (*REFUSAL_CLASSES, "neither")
    assert {row["judge"] for row in labels} == {"author"}


def test_samples_hold_every_verdict_and_refusal_class(labels):
    assert {row["verdict"] for row in labels} == set(VERDICTS)
    assert set(REFUSAL_CLASSES) < {row["refusal"] for row in labels}


def test_empty_samples_are_labelled_neither(completions, labels):
    empty = {row["id"] for row in completions if not row["response"].strip()}
    assert len(empty) == 2
    assert all(row["verdict"] == row["refusal"] == "neither" for row in labels if row["id"] in empty)


def test_at_least_thirty_samples_were_generated_by_smollm2(completions):
    generated = [row for row in completions if row["model"] == "smollm2-135m-instruct"]
    assert len(generated) >= 30
    assert all(row["response"].strip() for row in generated)


def test_what_is_held_out_is_not_in_the_training_data(completions, synthetic):
    trained = synthetic + rows_of(DATA / "hard" / "train.jsonl")
    prompts = {row["prompt"].casefold().strip() for row in trained}
    held_out = completions + rows_of(DATA / "hard" / "test.jsonl")
    assert not [row["id"] for row in held_out if row["prompt"].casefold().strip() in prompts]


def test_the_hard_set_has_enough_of_each_kind_with_both_outcomes():
    for name, least in (("train", 200), ("test", 200)):
        rows = rows_of(DATA / "hard" / f"{name}.jsonl")
        assert len({row["id"] for row in rows}) == len(rows) >= least
        verdicts = {}
        for row in rows:
            assert rubrics.canonical_subcategory(row["subcategory"]) is not None
            verdicts.setdefault(row["kind"], []).append(row["verdict"])
        assert len(verdicts) == 20
        for kind, found in verdicts.items():
            assert len(found) >= 8
            assert kind == "neither" or {"noncompliance", "compliance"} <= set(found)


def test_readme_states_the_rows_of_every_labelled_file():
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    for file in SYNTHETIC:
        assert f"| `{file.stem}` | {len(rows_of(file))} |" in readme
    kinds = {
        name: Counter(row["kind"] for row in rows_of(DATA / "hard" / f"{name}.jsonl")) for name in ("train", "test")
    }
    for kind in kinds["train"]:
        assert f"| {kind} | {kinds['train'][kind]} | {kinds['test'][kind]} |" in readme


def test_synthetic_rows_are_unique_and_complete(synthetic):
    assert len({row["id"] for row in synthetic}) == len(synthetic) > 10_000
    for row in synthetic:
        assert row["prompt"].strip()
        assert row["subset"] in ("original", "contrast")
        assert rubrics.canonical_subcategory(row["subcategory"]) is not None
