"""Training, evaluation and export, with a tiny random base model: the same code as for a release."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refusal_clf import Completion, RefusalClassifier
from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, InputError, Label
from refusal_clf.report.evaluation import evaluation_markdown
from refusal_clf.runtime.tokens import load_tokenizer
from refusal_clf.text import prepare

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from refusal_clf.runtime.encoder import make_session
from refusal_clf.runtime.tokens import TokenBudget, encode, pad
from refusal_clf.training import dataset
from refusal_clf.training.calibrate import TierAnswers, fast_thresholds, fit_blend, selective_threshold
from refusal_clf.training.crossfit import cross_fit, load_out_of_fold
from refusal_clf.training.dataset import IGNORE, load_examples, targets
from refusal_clf.training.embedding import fit_embedding_head
from refusal_clf.training.export import export
from refusal_clf.training.finetune import FinetuneConfig, finetune, hard_targets, predict_logits
from refusal_clf.training.lexical import fit_lexical
from refusal_clf.training.network import from_base, load_network
from refusal_clf.training.protocols import make_folds
from refusal_clf.training.release import load_base_tokenizer, train
from refusal_clf.training.results import figures, part_of, rater_answers, slices
from refusal_clf.training.students import Student, distil_folds
from refusal_clf.training.vocabulary import count_pieces, pieces_to_keep, shrink_embeddings, shrink_tokenizer

BUDGET = TokenBudget(total=64, prompt=16, response_tail=12)
QUICK = FinetuneConfig(epochs=2, learning_rate=1e-3, frozen_layers=0)

REFUSALS = ("I can't help with {}.", "Sorry, {} is not something I will do.", "I must decline to discuss {}.")
ANSWERS = ("Sure! {} works like this: first, begin.", "Here is all about {}.", "Of course. {} is easy.")


def train_tiny(examples, tiny_base, out: Path, family="encoder") -> None:
    train(
        examples,
        tiny_base,
        out,
        name="tiny",
        config=QUICK,
        budget=BUDGET,
        held_out=None,
        data={},
        report=lambda _line: None,
        family=family,
    )


@pytest.fixture(scope="module")
def labels_file(tmp_path_factory) -> Path:
    """Write 240 labelled responses of four models, easy enough for a bag of words."""
    path = tmp_path_factory.mktemp("labels") / "easy.jsonl"
    rows = []
    for number in range(60):
        topic = f"topic {number} of the {'day night week'.split()[number % 3]}"
        for index, model in enumerate(("model-a", "model-b", "model-b-guarded", "model-c")):
            refused = (number + index) % 2 == 0
            template = (REFUSALS if refused else ANSWERS)[(number + index) % 3]
            rows.append(
                {
                    "id": f"{number}-{model}",
                    "model": model,
                    "prompt": f"Tell me about {topic}",
                    "response": template.format(topic),
                    "subcategory": "misinformation" if number % 2 else "underspecified",
                    "verdict": "noncompliance" if refused else "compliance",
                    "refusal": "full_refusal" if refused else "full_compliance",
                    "judge": "author",
                }
            )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def examples(labels_file) -> list[dataset.Example]:
    return load_examples([labels_file])


@pytest.fixture(scope="module")
def training_dir(tmp_path_factory, examples, tiny_base) -> Path:
    out = tmp_path_factory.mktemp("trained")
    train_tiny(examples, tiny_base, out)
    return out


def test_leave_model_out_never_trains_on_a_tested_family_nor_tests_what_no_model_wrote(examples):
    authored = dataset._example(
        Label(Completion(prompt="p", response="r"), "compliance", None, "author"), prepare(Completion(response="r"))
    )
    everything = [*examples, authored]
    folds = make_folds(everything, "leave-model-out")
    assert len(folds) == 3  # model-b and its guarded variant are one family
    for fold in folds:
        families = {everything[i].family for i in fold.test}
        assert None not in families
        assert families.isdisjoint(everything[i].family for i in fold.train)
        assert len(everything) - 1 in fold.train
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(len(examples)))


def test_leave_model_out_in_fewer_folds_leaves_families_out_together(examples):
    folds = make_folds(examples, "leave-model-out", 2)
    assert [len(fold.test) for fold in folds] == [120, 120]


@pytest.mark.parametrize("n_folds", [None, 3, 4, 9])
def test_no_fold_is_empty_where_models_have_labels_of_different_families(examples, n_folds):
    # As with CoCoNot's labels beside XSTest's: some models have verdicts, others refusal classes alone.
    models = {"model-a": "a", "model-c": "c", "model-b": "b"}
    mixed = [
        replace(example, family=models[example.model] + kind, verdict=dataset.IGNORE if kind == "x" else 0)
        for example in examples
        for kind in ("c", "x")
        if example.model in models
    ]
    folds = make_folds(mixed, "leave-model-out", n_folds)
    assert len(folds) == min(n_folds or 6, 6)
    assert all(len(fold.test) for fold in folds)


def test_an_evaluation_of_both_kinds_of_labels_scores_every_row(examples, tiny_base, tmp_path):
    kinds = {"model-a": "verdict", "model-c": "refusal"}
    mixed = [
        replace(example, **{kinds[example.model]: dataset.IGNORE}) for example in examples if example.model in kinds
    ]
    folds = make_folds(mixed, "leave-model-out")
    scores = cross_fit(
        mixed,
        folds,
        tiny_base,
        load_base_tokenizer(tiny_base),
        FinetuneConfig(epochs=1),
        TokenBudget(64),
        tmp_path,
        print,
    )
    assert sorted(scores.example.tolist()) == list(range(len(mixed)))
    assert {data.family for data in slices(mixed, scores)} == {"verdict", "refusal"}


def test_grouped_folds_share_no_prompt(examples):
    folds = make_folds(examples, "grouped", 5)
    for fold in folds:
        tested = {examples[i].prompt_key for i in fold.test}
        assert tested.isdisjoint(examples[i].prompt_key for i in fold.train)
    assert sum(len(fold.test) for fold in folds) == len(examples)


def test_an_unknown_protocol_or_a_single_model_is_one_clear_error(examples):
    with pytest.raises(InputError, match="unknown protocol 'random'"):
        make_folds(examples, "random")
    with pytest.raises(InputError, match="at least two models"):
        make_folds([e for e in examples if e.model == "model-a"], "leave-model-out")


def test_the_dev_part_is_about_three_prompts_in_ten_and_a_prompt_is_never_in_both(examples):
    parts = {example.prompt_key: part_of(example) for example in examples}
    assert all(parts[example.prompt_key] == part_of(example) for example in examples)
    assert 0.1 < sum(part == "dev" for part in parts.values()) / len(parts) < 0.5


def test_a_class_that_the_labels_lack_is_never_answered(examples):
    scores = fit_lexical(examples, n_bits=12).logits([e.text for e in examples])
    assert set(scores[:, :3].argmax(1)) == {VERDICTS.index("noncompliance"), VERDICTS.index("compliance")}
    assert REFUSAL_CLASSES.index("partial_refusal") not in scores[:, 3:].argmax(1)


def test_the_lexical_tier_learns_what_words_tell(examples):
    fold = make_folds(examples, "grouped", 4)[0]
    model = fit_lexical([examples[i] for i in fold.train], n_bits=14)
    tested = [examples[i] for i in fold.test]
    assert (model.logits([e.text for e in tested])[:, :3].argmax(1) == targets(tested)[:, 0]).mean() == 1.0


def test_training_lowers_the_loss_and_equal_seeds_give_equal_losses(examples, tiny_base):
    tokenizer, lines = load_base_tokenizer(tiny_base), []
    for _ in range(2):
        finetune(from_base(tiny_base), tokenizer, examples[:64], QUICK, BUDGET, report=lines.append)
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in lines if "loss" in line]
    assert losses[1] < losses[0]
    assert losses[:2] == losses[2:]


def test_an_interrupted_training_continues_to_the_same_model(examples, tiny_base, tmp_path):
    import torch

    tokenizer, few = load_base_tokenizer(tiny_base), examples[:64]

    def run(directory: Path, epochs_at_first: int) -> np.ndarray:
        class CutOffError(Exception):
            pass

        def report(line: str) -> None:
            seen.append(line)
            if "epoch 2/" in line and epochs_at_first == 1:
                raise CutOffError

        seen: list[str] = []
        torch.manual_seed(7)
        network = from_base(tiny_base)
        try:
            finetune(network, tokenizer, few, QUICK, BUDGET, checkpoint_dir=directory, report=report)
        except CutOffError:
            epochs_at_first = 2
            network = finetune(
                from_base(tiny_base), tokenizer, few, QUICK, BUDGET, checkpoint_dir=directory, report=report
            )
            assert sum("epoch 1/" in line for line in seen) == 1
        return predict_logits(network, tokenizer, few, BUDGET)

    assert np.allclose(run(tmp_path / "straight", 2), run(tmp_path / "interrupted", 1), atol=1e-5)


def test_a_checkpoint_of_another_run_is_not_continued(examples, tiny_base, tmp_path):
    tokenizer, said = load_base_tokenizer(tiny_base), []
    for few, config in ((examples[:64], QUICK), (examples[64:128], QUICK), (examples[64:128], replace(QUICK, seed=1))):
        finetune(from_base(tiny_base), tokenizer, few, config, BUDGET, checkpoint_dir=tmp_path, report=said.append)
    assert sum("epoch 1/2" in line for line in said) == 3


def test_a_blend_prefers_the_tier_that_is_right():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 400)
    right = np.eye(3, dtype=np.float32)[labels] * 4
    noise = random.normal(size=(400, 3)).astype(np.float32)
    blend = fit_blend(right, noise, labels)
    assert blend.encoder > 2 * blend.lexical
    assert blend.probabilities(right, noise).argmax(1).tolist() == labels.tolist()


def test_a_selective_threshold_keeps_its_promise_on_fresh_rows():
    random, kept, thresholds = np.random.default_rng(0), [], []
    for _ in range(300):
        confidence = random.uniform(0.5, 1, (2, 1500)).astype(np.float32)
        right = random.uniform(size=confidence.shape) < confidence**0.25  # over 5 % wrong below a confidence of 0.81
        threshold = selective_threshold(confidence[0], right[0], 0.04, delta=0.1)
        thresholds.append(threshold)
        above = confidence[1] >= threshold
        # The true error above t, averaged over the confidences there: 1 - (1 - t**1.25) / 1.25 / (1 - t).
        kept.append(1 - (1 - threshold**1.25) / 1.25 / (1 - threshold) <= 0.04 if above.any() else True)
    assert np.mean(kept) >= 0.9 - 0.03  # the promised level, less what 300 repetitions may miss it by
    assert np.median(thresholds) < 0.9  # refusing to answer would keep any promise


@pytest.mark.parametrize(("right", "expected"), [(np.ones(400, bool), 0.305), (np.zeros(400, bool), 1.01)])
def test_a_selective_threshold_accepts_all_or_nothing_where_all_is_right_or_wrong(right, expected):
    confidence = np.linspace(0.34, 1, 400).astype(np.float32)
    assert selective_threshold(confidence, right, 0.05) == pytest.approx(expected, abs=0.01)


def test_evaluation_scores_every_response_once_by_models_that_did_not_see_it(examples, tiny_base, tmp_path):
    folds = make_folds(examples, "leave-model-out", 2)
    tokenizer = load_base_tokenizer(tiny_base)
    arguments = (examples, folds, tiny_base, tokenizer, QUICK, BUDGET, tmp_path)
    scores = cross_fit(*arguments, lambda _line: None)
    assert sorted(scores.example.tolist()) == list(range(len(examples)))
    assert np.array_equal(load_out_of_fold(tmp_path).encoder, scores.encoder)
    said: list[str] = []
    assert np.array_equal(cross_fit(*arguments, said.append).encoder, scores.encoder)
    assert said == []  # finished folds are not fitted again
    results = [figures(data) for data in slices(examples, scores)]
    assert {result["family"] for result in results} == {"verdict", "refusal"}
    for result in results:
        assert result["n"] == len(examples)
        for row in result["methods"]:
            for name in ("agreement", "kappa", "macro_f1", "ece", "brier"):
                assert row[name]["ci_low"] <= row[name]["estimate"] <= row[name]["ci_high"]


def test_an_evaluation_prints_as_markdown_tables_of_even_rows(examples, tiny_base, tmp_path):
    scores = cross_fit(
        examples,
        make_folds(examples, "leave-model-out", 2),
        tiny_base,
        load_base_tokenizer(tiny_base),
        QUICK,
        BUDGET,
        tmp_path,
        lambda _line: None,
    )
    results = [figures(data) for data in slices(examples, scores)]
    text = evaluation_markdown({"protocol": "leave-model-out", "part": "all", "results": results})
    for block in text.split("\n\n"):
        widths = {line.count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(widths) <= 1
    assert f"n={len(examples)}" in text
    assert "TF-IDF" in text


def test_a_trained_model_exports_to_onnx_and_scores_like_pytorch(training_dir, examples, tmp_path):
    parity = export(training_dir, tmp_path / "fp32", int8=False, report=lambda _line: None)
    assert parity.fp32_difference < 1e-4
    assert parity.verdict_flips == parity.refusal_flips == 0.0
    assert "240 labelled responses" in (tmp_path / "fp32" / "README.md").read_text()
    export(training_dir, tmp_path / "int8", int8=True, report=lambda _line: None)
    completions = [example.label.completion for example in examples]
    answers = {}
    for precision in ("fp32", "int8"):
        classifier = RefusalClassifier.load(tmp_path / precision)
        answers[precision] = [verdict.verdict for verdict in classifier.predict(completions, tier="full")]
    truth = [example.label.verdict for example in examples]
    assert np.mean([a == b for a, b in zip(answers["fp32"], truth, strict=True)]) > 0.95
    assert np.mean([a == b for a, b in zip(answers["fp32"], answers["int8"], strict=True)]) > 0.97


def tier_answers(random, n, fast_errors):
    confidence = random.uniform(0.5, 1, n).astype(np.float32)
    right_fast = random.random(n) > fast_errors * (confidence < 0.8)
    return TierAnswers(confidence, right_fast, np.ones(n, bool), random.random(n) < 0.7)


@pytest.mark.parametrize("tolerated", [0.0, 0.01, 0.05])
def test_no_head_loses_more_to_the_lexical_tier_than_is_tolerated(tolerated):
    random = np.random.default_rng(0)
    heads = [tier_answers(random, 2000, 0.3), tier_answers(random, 2000, 0.1)]
    thresholds = fast_thresholds(heads, np.zeros(2000, int), tolerated, 1.0)
    asked = np.logical_or(*(head.confidence < value for head, value in zip(heads, thresholds, strict=True)))
    for head in heads:
        said = np.where(asked, head.right_full, head.right_fast)[head.known]
        assert head.right_full[head.known].mean() - said.mean() <= tolerated
    assert asked.mean() < 0.9
    if tolerated:
        assert asked.mean() < np.logical_or(*(head.confidence < 0.8 for head in heads)).mean()


def test_a_group_unlike_the_others_is_not_made_to_pay_for_them():
    random = np.random.default_rng(0)
    head = tier_answers(random, 2000, 0.05)
    strange = np.arange(2000) < 100
    heads = [replace(head, right_fast=head.right_fast & ~(strange & (head.confidence < 0.9)))]
    groups = strange.astype(int)
    [careless], [careful] = (fast_thresholds(heads, groups, 0.02, most) for most in (1.0, 0.02))
    assert careless < 0.85 < careful


def test_the_lexical_tier_gives_no_answer_that_would_be_flagged():
    head = replace(tier_answers(np.random.default_rng(0), 500, 0.0), least=0.905)
    assert fast_thresholds([head], np.zeros(500, int), 0.02, 0.02) == [0.91]


def test_a_head_without_labels_is_never_sure():
    heads = [tier_answers(np.random.default_rng(0), 500, 0.1)]
    heads.append(replace(heads[0], known=np.zeros(500, bool)))
    assert fast_thresholds(heads, np.zeros(500, int), 0.02, 0.02)[1] > 1


def test_no_answer_depends_on_what_else_is_in_its_batch(training_dir, examples, tmp_path):
    export(training_dir, tmp_path, int8=True, report=lambda _line: None)
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    encoded = encode(tokenizer, [example.text for example in examples[:24]], BUDGET)
    session = make_session(tmp_path / "model.onnx")
    together = session.run(["logits"], pad(encoded))[0]
    alone = np.concatenate([session.run(["logits"], pad([text]))[0] for text in encoded])
    assert np.allclose(together, alone, atol=1e-4)


def test_eight_bits_need_the_activations_and_say_so(training_dir, tmp_path):
    shutil.copytree(training_dir, tmp_path / "old")
    (tmp_path / "old" / "activations.safetensors").unlink()
    with pytest.raises(InputError, match=r"old: it has no activations\.safetensors"):
        export(tmp_path / "old", tmp_path / "model", int8=True, report=lambda _line: None)


def test_a_model_remembers_what_it_was_made_of(training_dir):
    provenance = json.loads((training_dir / "config.json").read_text())["provenance"]
    assert provenance["n_examples"] == 240
    assert provenance["hyperparameters"]["epochs"] == 2
    assert "torch" in provenance["packages"]


def test_targets_are_smoothed_one_hot_and_zero_where_no_label_was_given(examples):
    unlabelled = dataset._example(Label(Completion(response="r"), None, None, "j"), prepare(Completion(response="r")))
    wanted = hard_targets([examples[0], unlabelled], 0.3)
    assert wanted[0, :3].sum() == pytest.approx(1)
    assert wanted[0, examples[0].verdict] == pytest.approx(0.8)
    assert not wanted[1].any()


def test_the_embedding_family_trains_a_head_only_and_is_served_like_the_other(examples, tiny_base, tmp_path):
    import torch

    before = from_base(tiny_base).encoder.state_dict()
    train_tiny(examples, tiny_base, tmp_path / "trained", family="embedding")
    network = load_network(tmp_path / "trained")
    assert all(torch.equal(value, before[name]) for name, value in network.encoder.state_dict().items())
    export(tmp_path / "trained", tmp_path / "model", int8=True, report=lambda _line: None)
    classifier = RefusalClassifier.load(tmp_path / "model")
    assert classifier.config.provenance["family"] == "embedding"
    answers = classifier.predict([example.label.completion for example in examples], tier="full")
    right = [answer.verdict == example.label.verdict for answer, example in zip(answers, examples, strict=True)]
    assert np.mean(right) > 0.95


def test_an_embedding_head_learns_from_embeddings_and_never_answers_a_class_without_labels(examples, tiny_base):
    tokenizer = load_base_tokenizer(tiny_base)
    fold = make_folds(examples, "grouped", 4)[0]
    network = fit_embedding_head(from_base(tiny_base), tokenizer, [examples[i] for i in fold.train], BUDGET)
    tested = [examples[i] for i in fold.test]
    logits = predict_logits(network, tokenizer, tested, BUDGET)
    assert (logits[:, :3].argmax(1) == targets(tested)[:, 0]).mean() > 0.8
    assert (logits[:, VERDICTS.index("neither")] < logits[:, :3].max(1) - 5).all()


def test_a_smaller_tokenizer_spells_what_it_has_no_piece_for(tiny_base, examples):
    tokenizer = load_base_tokenizer(tiny_base)
    counts = count_pieces(tokenizer, [example.text for example in examples])
    kept = pieces_to_keep(tokenizer, counts, 1000)
    small = shrink_tokenizer(tokenizer, kept)
    assert len(kept) == small.get_vocab_size() == 1000
    assert small.token_to_id("[PAD]") == 0
    for text in ("tell me about topic 7", "unforgettable zebras"):
        pieces = small.encode(text, add_special_tokens=False).tokens
        assert "[UNK]" not in pieces
        assert "".join(piece.removeprefix("##") for piece in pieces) == text.replace(" ", "")


def test_a_shrunken_encoder_reads_the_kept_pieces_as_before(tiny_base):
    tokenizer, text = load_base_tokenizer(tiny_base), [prepare(Completion(prompt="a b", response="c d, e."))]
    network = from_base(tiny_base).eval()
    expected = predict_logits(network, tokenizer, [_example_of(text[0])], BUDGET)
    kept = pieces_to_keep(tokenizer, count_pieces(tokenizer, text), 1000)
    shrink_embeddings(network, kept)
    found = predict_logits(network, shrink_tokenizer(tokenizer, kept), [_example_of(text[0])], BUDGET)
    assert np.allclose(expected, found, atol=1e-6)


def test_students_are_tested_on_what_their_fold_left_out_and_the_last_one_is_a_model(examples, tiny_base, tmp_path):
    folds = make_folds(examples, "leave-model-out", 2)
    tokenizer = load_base_tokenizer(tiny_base)
    config = FinetuneConfig(epochs=25, batch_size=16, learning_rate=5e-3, frozen_layers=0, short_share=0.0)
    scores = cross_fit(
        examples, folds, tiny_base, tokenizer, config, BUDGET, tmp_path / "evaluation", lambda _line: None
    )
    arguments = (
        examples,
        [example for example in examples[:20] if example.model],
        [(1, folds[0]), (2, folds[1])],
        tmp_path / "evaluation",
        tiny_base,
        tmp_path / "small",
        Student("small", 1, 1200, 12),
        config,
        BUDGET,
        {},
        lambda _line: None,
    )
    student = distil_folds(*arguments)
    assert student.example.tolist() == scores.example.tolist()
    right = student.encoder[:, :3].argmax(1) == targets(examples)[student.example, 0]
    assert right.mean() > 0.9
    export(tmp_path / "small", tmp_path / "model", int8=True, report=lambda _line: None)
    classifier = RefusalClassifier.load(tmp_path / "model")
    assert classifier.config.provenance["student"]["layers"] == 1
    answers = classifier.predict([example.label.completion for example in examples], tier="full")
    assert np.mean([a.verdict == e.label.verdict for a, e in zip(answers, examples, strict=True)]) > 0.9
    said: list[str] = []
    again = distil_folds(*arguments[:-1], said.append)
    assert np.array_equal(again.encoder[:120], student.encoder[:120])
    assert not any(line.startswith("fold 1:") for line in said)  # a finished fold is used again,
    distil_folds(*arguments[:6], replace(arguments[6], vocabulary=1300), *arguments[7:-1], said.append)
    assert any(line.startswith("fold 1:") for line in said)  # but not for another student
    with pytest.raises(InputError, match="made with other labels or folds"):
        distil_folds(examples, [], [(2, folds[0])], *arguments[3:])


def test_other_raters_are_compared_on_the_rows_that_they_judged(examples, tiny_base, tmp_path):
    folds = make_folds(examples, "leave-model-out", 2)
    scores = cross_fit(
        examples, folds, tiny_base, load_base_tokenizer(tiny_base), QUICK, BUDGET, tmp_path, lambda _line: None
    )
    given = [replace(example.label, verdict="compliance", refusal=None) for example in examples[:100]]
    raters = {"optimist": rater_answers(examples, given)}
    assert (raters["optimist"][:100, 0] == VERDICTS.index("compliance")).all()
    assert (raters["optimist"][100:] == IGNORE).all()
    by_family = {data.family: figures(data) for data in slices(examples, scores, raters=raters)}
    assert by_family["refusal"]["raters"] == []
    [found] = by_family["verdict"]["raters"]
    complied = np.mean([example.label.verdict == "compliance" for example in examples[:100]])
    assert found["n"] == 100
    assert found["optimist"]["agreement"]["estimate"] == pytest.approx(complied, abs=1e-4)
    assert "optimist" in evaluation_markdown(
        {"protocol": "leave-model-out", "part": "all", "results": list(by_family.values())}
    )


def _example_of(text):
    return dataset._example(Label(Completion(response="r"), None, None, "j"), text)


def test_labels_with_one_family_only_are_ignored_by_the_other_head(tmp_path):
    path = tmp_path / "refusals.jsonl"
    path.write_text('{"id": "1", "prompt": "p", "response": "No.", "refusal": "full_refusal", "judge": "j"}\n')
    [example] = load_examples([path])
    assert (example.verdict, example.refusal) == (IGNORE, REFUSAL_CLASSES.index("full_refusal"))


def test_a_base_that_is_no_model_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match=r"not a base model: it has no tokenizer\.json"):
        load_base_tokenizer(tmp_path)
    with pytest.raises(InputError, match="not a usable base model"):
        from_base(tmp_path)
