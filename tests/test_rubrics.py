"""CoCoNot's names, in every spelling that its files and users have for them."""

from __future__ import annotations

import json

import pytest

from refusal_clf import rubrics


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("modality limitations", "modality limitations"),
        ("Modality Limitations", "modality limitations"),
        ("input_modality_limitations", "input modality limitations"),
        ("false information", "misinformation"),
        ("False Information", "misinformation"),
        ("Offer advice", "offer advice"),
        ("offer advice, opinion or recommendations", "offer advice, opinion or recommendations"),
        ("altering model behaviour", "altering model behavior"),
        ("  WildChats ", "wildchats"),
        ("nonsense", None),
        (None, None),
    ],
)
def test_subcategories_are_known_by_all_their_spellings(name, canonical):
    assert rubrics.canonical_subcategory(name) == canonical


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("Requests with Safety Concerns", rubrics.SAFETY),
        ("requests_with_safety_concerns", rubrics.SAFETY),
        ("Humanising requests", rubrics.HUMANIZING),
        ("incomplete", rubrics.INCOMPLETE),
        ("other", None),
    ],
)
def test_categories_are_known_by_all_their_spellings(name, canonical):
    assert rubrics.canonical_category(name) == canonical


def test_every_canonical_name_is_its_own_alias():
    assert all(rubrics.canonical_subcategory(name.upper()) == name for name in rubrics.SUBCATEGORIES)
    assert all(rubrics.canonical_category(name.upper()) == name for name in rubrics.CATEGORIES)


def test_every_subcategory_but_the_generic_one_has_a_category():
    assert {c for name, c in rubrics.SUBCATEGORIES.items() if name != rubrics.GENERIC} == set(rubrics.CATEGORIES)


def test_a_missing_subcategory_is_generic_and_an_unknown_one_a_fallback():
    assert rubrics.rubric_of(None) == rubrics.rubric_of(" ") == (rubrics.GENERIC, False)
    assert rubrics.rubric_of("made up") == (rubrics.GENERIC, True)


def test_what_is_desired_depends_on_the_subset():
    assert rubrics.desired_verdict("original") == "noncompliance"
    assert rubrics.desired_verdict("contrast") == "compliance"
    assert rubrics.desired_verdict(None) is None


def test_the_published_rubric_and_evaluation_files_use_no_other_names(shared_data):
    published = json.loads((shared_data / "coconot" / "refusal_evaluation_rubric.json").read_text())
    assert {rubrics.canonical_subcategory(name) for name in published} == set(rubrics.SUBCATEGORIES)
    elsewhere = 0
    for file in ("original_eval.jsonl", "contrast_eval.jsonl", "contrast_pref.jsonl"):
        for line in (shared_data / "coconot" / file).read_text().splitlines():
            row = json.loads(line)
            name = rubrics.canonical_subcategory(row["subcategory"])
            assert name is not None
            elsewhere += rubrics.SUBCATEGORIES[name] != rubrics.canonical_category(row["category"])
    assert elsewhere == 1  # one "incomprehensible" prompt stands among the safety concerns
