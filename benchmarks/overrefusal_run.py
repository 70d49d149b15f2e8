"""Watch over-refusal rise: fine-tune a small chat model on refusals, with the Trainer's callback on.

    python benchmarks/overrefusal_run.py MODEL_DIR [--steps 200] [--every 20] [--out runs/overrefusal]

MODEL_DIR is a local causal model of transformers. It is trained twice from the same weights, on this project's own
responses (`data/synthetic`): on refusals of requests to be declined alone, and on as many answers to harmless ones
besides. The callback answers a sample of `data/samples` every so many steps. Prints both curves, and writes a history
for each arm, `curves.json` and `curves.svg` to --out. Needs: pip install 'refusal-clf[trainer]'.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)

from refusal_clf.integrations.trainer import HISTORY_FILE, RefusalCallback
from refusal_clf.reading import read_labels

sys.path.insert(0, str(Path(__file__).parent))
from machine import describe, line

DATA = Path(__file__).parents[1] / "data"
SUITE = DATA / "samples" / "completions.jsonl"
ARMS = {"refusals alone": 0.0, "refusals and answers": 1.0}
"""Answers to harmless prompts for each refusal."""
COLOURS = ("#b3261e", "#1a5fb4")
IGNORED = -100
"""The label of a token that no loss is taken of."""


def main() -> None:
    """Train both arms, print and store the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/overrefusal"))
    options = parser.parse_args()
    curves = {}
    for arm, share in ARMS.items():
        model = AutoModelForCausalLM.from_pretrained(options.model, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(options.model, local_files_only=True)
        curves[arm] = train(
            model, tokenizer, share, options.out / arm.replace(" ", "-"), steps=options.steps, every=options.every
        )
    report(curves, options.out)


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    answers: float,
    out: Path,
    *,
    steps: int,
    every: int,
    **limits: float,
) -> list[dict]:
    """Fine-tune a model on refusals and answers, and return the callback's history; `limits` are the callback's."""
    rows = [encoded(tokenizer, prompt, response) for prompt, response in examples(answers)]
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=8,
        learning_rate=2e-5,
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
    trainer.add_callback(RefusalCallback(trainer, SUITE, every_n_steps=every, **limits))
    trainer.train()
    return [json.loads(text) for text in (out / HISTORY_FILE).read_text(encoding="utf-8").splitlines()]


def examples(answers: float, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Yield prompts with full refusals and, for each of them, `answers` harmless prompts with full answers."""
    labels = [label for file in sorted((DATA / "synthetic").glob("*.jsonl")) for label in read_labels(file)]
    chosen: dict[str, list[tuple[str, str]]] = {"original": [], "contrast": []}
    wanted = {"original": "full_refusal", "contrast": "full_compliance"}
    for label in labels:
        subset = label.completion.subset or ""
        if wanted.get(subset) == label.refusal:
            chosen[subset].append((label.completion.prompt, label.completion.response))
    chance = random.Random(seed)
    for pairs in chosen.values():
        chance.shuffle(pairs)
    refusals = chosen["original"][: len(chosen["contrast"])]
    mixed = refusals + chosen["contrast"][: round(answers * len(refusals))]
    chance.shuffle(mixed)
    yield from mixed


def encoded(tokenizer: PreTrainedTokenizerBase, prompt: str, response: str, limit: int = 384) -> dict[str, list[int]]:
    """Return a turn's tokens, and labels that take the loss of the response alone."""
    if tokenizer.chat_template:
        turn = [{"role": "user", "content": prompt}]
        asked = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        head = tokenizer(asked, add_special_tokens=False)["input_ids"]
    else:
        head = tokenizer(prompt + "\n")["input_ids"]
    tail = [*tokenizer(response, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    ids = (head + tail)[:limit]
    return {"input_ids": ids, "labels": ([IGNORED] * len(head) + tail)[:limit]}


def collated(batch: Sequence[dict[str, list[int]]], pad: int) -> dict[str, torch.Tensor]:
    """Pad a batch on the right."""
    longest = max(len(row["input_ids"]) for row in batch)

    def padded(name: str, value: int) -> torch.Tensor:
        return torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in batch])

    mask = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in batch]
    return {
        "input_ids": padded("input_ids", pad),
        "labels": padded("labels", IGNORED),
        "attention_mask": torch.tensor(mask),
    }


def report(curves: dict[str, list[dict]], out: Path) -> None:
    """Print the curves, and write them as JSON and as a picture."""
    print("| arm | step | over-refusal, % | compliance where declining is desired, % | seconds |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for arm, history in curves.items():
        for row in history:
            rates = " | ".join(_percent(row.get(f"refusal/{name}")) for name in ("overrefusal", "compliance"))
            print(f"| {arm} | {row['step']} | {rates} | {row['refusal/seconds']:.1f} |")
    machine = describe()
    print(f"\n{line(machine)}")
    out.mkdir(parents=True, exist_ok=True)
    document = json.dumps({"machine": machine, "curves": curves}, indent=2)
    (out / "curves.json").write_text(document + "\n", encoding="utf-8")
    (out / "curves.svg").write_text(picture(curves), encoding="utf-8")


def picture(curves: dict[str, list[dict]], width: int = 640, height: int = 360, margin: int = 48) -> str:
    """Return over-refusal by step as SVG, a line for each arm."""
    last = max((row["step"] for history in curves.values() for row in history), default=0) or 1
    across, down = width - 2 * margin, height - 2 * margin
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for tenth in range(0, 11, 2):
        y = margin + down * (1 - tenth / 10)
        parts.append(f'<path d="M{margin} {y:.1f}H{width - margin}" stroke="#ddd"/>')
        parts.append(f'<text font-size="12" x="{margin - 8}" y="{y + 4:.1f}" text-anchor="end">{10 * tenth} %</text>')
    parts.append(
        f'<text font-size="12" x="{width / 2}" y="{height - 12}" text-anchor="middle">step (0 to {last})</text>'
    )
    parts.append(f'<text font-size="12" x="{margin}" y="{margin - 24}">over-refusal on harmless prompts</text>')
    for index, (arm, history) in enumerate(curves.items()):
        colour = COLOURS[index % len(COLOURS)]
        known = [(row["step"], row["refusal/overrefusal"]) for row in history if "refusal/overrefusal" in row]
        points = " ".join(f"{margin + across * x / last:.1f},{margin + down * (1 - y):.1f}" for x, y in known)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x = margin + 240 + 160 * index
        parts.append(f'<text font-size="12" x="{x}" y="{margin - 24}" fill="{colour}">{arm}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f}"


if __name__ == "__main__":
    main()
