"""The Trainer's callback, in real training runs of a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_harness import needs_model, write_rows
from tiny_causal import tiny_model, tiny_tokenizer

from refusal_clf import Completion
from refusal_clf.integrations.suite import stratified, suite_rates
from refusal_clf.records import InputError, Verdict

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from refusal_clf.integrations.trainer import RefusalCallback, _undisturbed  # noqa: E402 - needs what may be missing

pytestmark = needs_model

SUITE = [
    Completion(f"question {k}", id=f"q{k}", suite="xstest", subset="safe" if k % 2 else "unsafe") for k in range(12)
]


class Words(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> dict[str, Any]:
        ids = torch.tensor([1 + (index * 7 + k) % 256 for k in range(12)])
        return {"input_ids": ids, "labels": ids}


def trainer_of(folder: Path, *, model: Any = None, chat_template: str | None = None, **arguments: Any) -> Any:
    settings = {
        "output_dir": str(folder),
        "max_steps": 4,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "report_to": [],
        "use_cpu": True,
        "save_strategy": "no",
        "disable_tqdm": True,
        "seed": 7,
    }
    return transformers.Trainer(
        model or tiny_model(),
        transformers.TrainingArguments(**{**settings, **arguments}),
        train_dataset=Words(),
        processing_class=tiny_tokenizer(chat_template),
        data_collator=transformers.default_data_collator,
    )


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "refusal_history.jsonl").read_text().splitlines()]


def test_rates_are_logged_before_between_and_after_and_kept_in_a_history(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, max_steps=5)
    trainer.add_callback(RefusalCallback(trainer, SUITE, every_n_steps=2, max_new_tokens=4))
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "refusal/overrefusal" in entry]
    assert [entry["step"] for entry in logged] == [entry["step"] for entry in history(tmp_path)] == [0, 2, 4, 5]
    for entry in (*logged, *history(tmp_path)):
        assert entry["refusal/seconds"] > 0
        assert 0 <= entry["refusal/compliance"] <= 1


def test_the_loss_of_an_evaluated_step_is_logged_all_the_same(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, logging_steps=1)
    trainer.add_callback(RefusalCallback(trainer, SUITE, every_n_steps=2, max_new_tokens=4))
    trainer.train()
    assert [entry["step"] for entry in trainer.state.log_history if "loss" in entry] == [1, 2, 3, 4]


def test_training_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    weights = []
    for watched in (False, True):
        # Dropout draws random numbers: an evaluation that drew any would change every later step.
        trainer = trainer_of(tmp_path / str(watched), model=tiny_model(dropout=0.5))
        if watched:
            trainer.add_callback(RefusalCallback(trainer, SUITE, every_n_steps=1, max_new_tokens=4))
        trainer.train()
        weights.append(torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()]))
    assert torch.equal(*weights)


def test_everything_is_put_back_even_after_an_error() -> None:
    model, tokenizer = tiny_model(), tiny_tokenizer()
    model.train()
    model.model.layers[0].eval()  # a part that its owner froze
    model.config.use_cache = False
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()

    def disturb() -> None:
        with _undisturbed(model, tokenizer):
            assert not any(module.training for module in model.modules())
            assert (tokenizer.padding_side, tokenizer.pad_token) == ("left", "<eos>")
            model.config.use_cache = True
            torch.rand(3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        disturb()
    assert [module.training for module in model.modules()] == modes
    assert (tokenizer.padding_side, tokenizer.pad_token, model.config.use_cache) == ("right", None, False)
    assert torch.equal(torch.get_rng_state(), state)


def test_answers_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    suite = [Completion("a" * (1 + 5 * k), id=f"q{k}", suite="xstest", subset="safe") for k in range(7)]
    answers = []
    for batch_size in (1, 3, 7):
        trainer = trainer_of(tmp_path)
        callback = RefusalCallback(trainer, suite, batch_size=batch_size, max_new_tokens=6)
        with _undisturbed(trainer.model, trainer.processing_class):
            answers.append([row.response for row in callback._answer(trainer.model)])
    assert answers[0] == answers[1] == answers[2]
    assert len(set(answers[0])) > 1


def test_a_chat_template_is_used_and_a_file_is_read(tmp_path: Path) -> None:
    rows = [{"prompt": f"q {k}", "suite": "xstest", "subset": "safe"} for k in range(5)]
    file = write_rows(tmp_path / "suite.jsonl", [*rows, {**rows[0], "prompt": "long " * 50}])
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    trainer = trainer_of(tmp_path, chat_template=template)
    callback = RefusalCallback(trainer, file, max_prompt_tokens=100)
    assert [text for _, text in callback._prompts] == [f"<user>q {k}<assistant>" for k in range(5)]


@pytest.mark.parametrize(("limits", "steps"), [({"max_overrefusal": 0.1}, 2), ({"max_compliance": 0.1}, 4), ({}, 4)])
def test_training_stops_when_a_limit_is_passed_beyond_chance(
    limits: dict[str, float], steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(tmp_path)
    callback = RefusalCallback(trainer, SUITE, every_n_steps=2, **limits)

    def refuses_from_step_2(self: Any, model: Any) -> Any:
        text = "I'm sorry, but I can't help with that." if trainer.state.global_step >= 2 else "Sure! Open the menu."
        safe = [row for row, _ in self._prompts if row.subset == "safe"]
        return (Completion(row.prompt, text, suite="xstest", subset="safe") for row in safe)

    monkeypatch.setattr(RefusalCallback, "_answer", refuses_from_step_2)
    trainer.add_callback(callback)
    trainer.train()
    assert trainer.state.global_step == steps


def test_completions_are_kept_where_they_are_wanted(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, max_steps=1)
    trainer.add_callback(RefusalCallback(trainer, SUITE, max_new_tokens=2, completions_dir=tmp_path / "completions"))
    trainer.train()
    assert sorted(path.name for path in (tmp_path / "completions").iterdir()) == ["step-0.jsonl", "step-1.jsonl"]
    rows = [json.loads(line) for line in (tmp_path / "completions" / "step-1.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [prompt.id for prompt in SUITE]


def test_a_resumed_run_replaces_the_history_after_its_checkpoint(tmp_path: Path) -> None:
    for resumed in (False, True):
        trainer = trainer_of(tmp_path, save_strategy="steps", save_steps=2)
        trainer.add_callback(RefusalCallback(trainer, SUITE, every_n_steps=1, max_new_tokens=2))
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2") if resumed else None)
        assert [entry["step"] for entry in history(tmp_path)] == [0, 1, 2, 3, 4]


def test_a_half_written_history_does_not_stop_a_resumed_run(tmp_path: Path) -> None:
    file = tmp_path / "refusal_history.jsonl"
    file.write_text('{"step": 0}\n{"epoch": 1}\n[3]\n{"step": null}\n{"step": 1, "refusal/em')
    trainer = trainer_of(tmp_path)
    RefusalCallback(trainer, SUITE)._forget_after(2)
    assert history(tmp_path) == [{"step": 0}]


def test_a_trainers_own_metrics_are_left_alone(tmp_path: Path) -> None:
    class Collecting(transformers.Trainer):
        """Logs and clears what it collected with whatever is logged, as TRL's trainers do."""

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            logs.update(collected)
            collected.clear()
            super().log(logs, start_time)

    collected = {"reward": 1.0}
    trainer = trainer_of(tmp_path, max_steps=1, logging_strategy="no")
    trainer.__class__ = Collecting
    callback = RefusalCallback(trainer, SUITE, max_new_tokens=2)
    callback._evaluate(trainer.state, trainer.control)
    assert collected == {"reward": 1.0}
    assert "refusal/overrefusal" in trainer.state.log_history[-1]


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ({"max_overrefusal": 5}, "max_overrefusal is 5, no fraction"),
        ({"max_compliance": -0.1}, r"max_compliance is -0\.1, no fraction"),
        ({"max_compliance": True}, "max_compliance is True, no fraction"),
        ({"desired": "complaince"}, "desired is 'complaince', not one of"),
        ({"max_compliance": 0.1}, "no prompt of the suite is to be declined"),
    ],
)
def test_a_limit_that_can_never_be_passed_is_refused_at_once(
    arguments: dict[str, Any], pattern: str, tmp_path: Path
) -> None:
    safe = [prompt for prompt in SUITE if prompt.subset == "safe"]
    with pytest.raises(InputError, match=pattern):
        RefusalCallback(trainer_of(tmp_path), safe, **arguments)


def test_a_suite_that_says_nothing_of_what_is_desired_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="what is desired"):
        RefusalCallback(trainer_of(tmp_path), [Completion("hello")])


# --- the sample and its rates ------------------------------------------------------------------------------------


def test_a_sample_holds_every_stratum_in_its_proportion() -> None:
    suite = [Completion(str(k), subset="a" if k < 80 else "b" if k < 98 else "c") for k in range(100)]
    sample = stratified(suite, 20)
    counts = {name: sum(row.subset == name for row in sample) for name in "abc"}
    assert len(sample) == 20
    assert counts == {"a": 16, "b": 3, "c": 1}
    assert sample == [row for row in suite if row in sample]
    assert sample == stratified(suite, 20)
    assert sample != stratified(suite, 20, seed=1)
    assert stratified(suite, 200) == suite


def test_rates_leave_empty_responses_out_and_keep_the_directions_apart() -> None:
    def verdict(subset: str, refusal: str | None) -> Verdict:
        flags = ("empty",) if refusal is None else ()
        return Verdict(None, "xstest", subset, None, None, None, "neither", None, refusal, None, "full", flags)  # type: ignore[arg-type]

    rows = [("safe", "full_refusal"), ("safe", "full_compliance"), ("safe", None), ("unsafe", "full_compliance")]
    rates = suite_rates([verdict(*row) for row in rows])
    assert (rates.overrefusal.value, rates.overrefusal.items) == (0.5, (0,))
    assert (rates.compliance.value, rates.compliance.items) == (1.0, (3,))
    assert (rates.refusal.value, rates.n_empty) == (1 / 3, 1)
    assert suite_rates([verdict("safe", "full_refusal")]).compliance is None
