"""A callback for the transformers Trainer: how refusals move while a model trains.

>>> trainer = Trainer(model, args, train_dataset=dataset, processing_class=tokenizer)  # doctest: +SKIP
>>> trainer.add_callback(RefusalCallback(trainer, "suite.jsonl", max_overrefusal=0.2))  # doctest: +SKIP
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from transformers import Trainer, TrainerCallback

from refusal_clf.classifier import RefusalClassifier, TierChoice
from refusal_clf.generation.local import answer_batches, chat_text, token_ids
from refusal_clf.integrations.suite import Rate, SuiteRates, check_limit, directions, stratified, suite_rates
from refusal_clf.reading import read_prompts
from refusal_clf.records import Completion, InputError
from refusal_clf.writing import replacing, write_jsonl

HISTORY_FILE: Final = "refusal_history.jsonl"


class RefusalCallback(TrainerCallback):  # type: ignore[misc]
    """Answers a small suite greedily every so many steps, scores the answers and logs the rates.

    Logged, to whatever the Trainer reports to: `refusal/overrefusal` (prompts to be answered, not complied with),
    `refusal/compliance` (prompts to be declined, complied with), `refusal/refusal_rate`, `refusal/empty` and
    `refusal/seconds`, before the first step, every `every_n_steps` and after the last. The same goes to a history file,
    a JSON line each. Modes, random states, the tokenizer's settings and the model's use of its cache are left as they
    were: training goes on as if nothing had happened.

    With several processes the first one evaluates and the others wait. Sharded models (FSDP, DeepSpeed) cannot
    generate in one process and are refused.

    Parameters
    ----------
    trainer
        The Trainer that the callback is added to; its `processing_class` is the tokenizer.
    suite
        A file of prompts (as `score` reads, responses ignored), or completions.
    desired
        The desired verdict of prompts whose suite and subset do not tell it.
    every_n_steps
        Optimiser steps between evaluations.
    n_prompts
        Size of the stratified sample of the suite.
    batch_size, max_prompt_tokens, max_new_tokens
        Prompts that are answered together; longer prompts are left out of the sample; longer answers are cut.
    max_overrefusal, max_compliance
        Training stops when a rate is above its limit by more than chance: its 95 % interval lies above it.
    classifier, tier
        Default: the packaged model.
    history
        Default: `refusal_history.jsonl` in the Trainer's output directory. Lines of steps after the one that training
        starts from are replaced, as the Trainer replaces its checkpoints.
    completions_dir
        Where each evaluation's completions are kept as `step-<n>.jsonl`, for `refusal-clf check`; default: nowhere.
    seed
        Of the sample.

    Raises
    ------
    InputError
        If the suite is unusable or says nothing of what is desired, or if a limit can never be passed; at the start of
        training, if the model is sharded.
    """

    def __init__(
        self,
        trainer: Any,  # noqa: ANN401 - transformers has no types here
        suite: str | Path | Iterable[Completion],
        *,
        desired: str | None = None,
        every_n_steps: int = 500,
        n_prompts: int = 64,
        batch_size: int = 16,
        max_prompt_tokens: int = 512,
        max_new_tokens: int = 96,
        max_overrefusal: float | None = None,
        max_compliance: float | None = None,
        classifier: RefusalClassifier | None = None,
        tier: TierChoice = "auto",
        history: str | Path | None = None,
        completions_dir: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        check_limit("max_overrefusal", max_overrefusal)
        check_limit("max_compliance", max_compliance)
        self._trainer = trainer
        self._tokenizer = trainer.processing_class
        self._desired = desired
        self._every = every_n_steps
        self._batch_size = batch_size
        self._max_new_tokens = max_new_tokens
        self._limits = {"overrefusal": max_overrefusal, "compliance": max_compliance}
        self._classifier = classifier or RefusalClassifier.load()
        self._tier = tier
        self._history = Path(history) if history else Path(trainer.args.output_dir) / HISTORY_FILE
        self._completions_dir = Path(completions_dir) if completions_dir else None
        self._evaluated: int | None = None
        prompts = read_prompts(Path(suite)) if isinstance(suite, str | Path) else suite
        texts = [(prompt, chat_text(self._tokenizer, prompt.prompt)) for prompt in prompts]
        fitting = [
            (prompt, text) for prompt, text in texts if len(token_ids(self._tokenizer, text)) <= max_prompt_tokens
        ]
        chosen = {id(prompt) for prompt in stratified((prompt for prompt, _ in fitting), n_prompts, seed)}
        self._prompts = [(prompt, text) for prompt, text in fitting if id(prompt) in chosen]
        # Fails now rather than after the first evaluation if nothing says what is desired.
        wanted = directions((prompt for prompt, _ in self._prompts), desired)
        if max_overrefusal is not None and "compliance" not in wanted:
            raise InputError("max_overrefusal cannot be passed: no prompt of the suite is to be answered")
        if max_compliance is not None and "noncompliance" not in wanted:
            raise InputError("max_compliance cannot be passed: no prompt of the suite is to be declined")

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Evaluate the model as training finds it."""
        if self._trainer.is_fsdp_enabled or self._trainer.is_deepspeed_enabled:
            raise InputError("RefusalCallback cannot generate with a sharded model (FSDP, DeepSpeed)")
        self._evaluated = None
        if state.is_world_process_zero:
            self._forget_after(state.global_step)
        self._evaluate(state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Evaluate every so many steps."""
        if state.global_step % self._every == 0:
            self._evaluate(state, control)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
        """Evaluate the trained model, unless its last step was evaluated."""
        if self._evaluated != state.global_step:
            self._evaluate(state, control)

    def _evaluate(self, state: Any, control: Any) -> None:  # noqa: ANN401
        self._evaluated = state.global_step
        stop = False
        if state.is_world_process_zero:
            began = time.perf_counter()
            with _undisturbed(self._trainer.model, self._tokenizer):
                completions = list(self._answer(self._trainer.model))
            rates = suite_rates(self._classifier.predict(completions, tier=self._tier), self._desired)
            metrics = _metrics(rates, time.perf_counter() - began)
            self._record(state, metrics, completions)
            # Logging takes back the order to log, and the loss of this step may be still to come.
            due = control.should_log
            # Not the subclass's: TRL's trainers add their own training metrics to whatever is logged, and clear them.
            Trainer.log(self._trainer, dict(metrics))
            control.should_log = due
            stop = any(_above(getattr(rates, name), limit) for name, limit in self._limits.items())
        if _first_says(stop):
            control.should_training_stop = True

    def _answer(self, model: Any) -> Iterator[Completion]:  # noqa: ANN401
        """Yield the suite with the model's answers."""
        answers: dict[int, str] = {}
        texts = [text for _, text in self._prompts]
        batches = answer_batches(
            model,
            self._tokenizer,
            texts,
            batch_size=self._batch_size,
            max_new_tokens=self._max_new_tokens,
            context=self._trainer.compute_loss_context_manager,
        )
        for batch in batches:
            answers.update((place, answer) for place, answer, _ in batch)
        for index, (prompt, _) in enumerate(self._prompts):
            yield replace(prompt, response=answers[index])

    def _record(self, state: Any, metrics: dict[str, float], completions: list[Completion]) -> None:  # noqa: ANN401
        self._history.parent.mkdir(parents=True, exist_ok=True)
        line = {"step": state.global_step, "epoch": state.epoch, "n": len(completions), **metrics}
        with self._history.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        if self._completions_dir is not None:
            fields = Completion.__dataclass_fields__
            rows = ({name: getattr(row, name) for name in fields} for row in completions)
            write_jsonl(self._completions_dir / f"step-{state.global_step}.jsonl", rows)

    def _forget_after(self, step: int) -> None:
        if not self._history.exists():
            return
        lines = self._history.read_text(encoding="utf-8").splitlines(keepends=True)
        with replacing(self._history) as stream:
            stream.writelines(line for line in lines if _is_before(step, line))


def _is_before(step: int, line: str) -> bool:
    """Say whether a line of the history is of an earlier step; not so if it was half written by a run that died."""
    try:
        return bool(json.loads(line)["step"] < step)
    except (ValueError, TypeError, KeyError):
        return False


@contextmanager
def _undisturbed(model: Any, tokenizer: Any) -> Iterator[None]:  # noqa: ANN401
    """Set everything for generating, and put it back as it was."""
    modes = [(module, module.training) for module in model.modules()]
    settings = tokenizer.padding_side, tokenizer.pad_token
    use_cache = getattr(model.config, "use_cache", None)
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            model.eval()
            tokenizer.padding_side = "left"
            if tokenizer.pad_token is None:
                tokenizer.pad_token = tokenizer.eos_token
            yield
        finally:
            for module, training in modes:
                module.training = training
            tokenizer.padding_side, tokenizer.pad_token = settings
            if use_cache is not None:
                model.config.use_cache = use_cache


def _metrics(rates: SuiteRates, seconds: float) -> dict[str, float]:
    found = {"overrefusal": rates.overrefusal, "compliance": rates.compliance, "refusal_rate": rates.refusal}
    metrics = {f"refusal/{name}": rate.value for name, rate in found.items() if rate is not None}
    return {**metrics, "refusal/empty": float(rates.n_empty), "refusal/seconds": round(seconds, 3)}


def _above(rate: Rate | None, limit: float | None) -> bool:
    return rate is not None and limit is not None and rate.ci_low > limit


def _first_says(stop: bool) -> bool:
    """Return what the first process decided: a process that stopped alone would leave the others waiting."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return stop
    said = [stop]
    torch.distributed.broadcast_object_list(said, src=0)
    return said[0]
