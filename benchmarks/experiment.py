"""One experiment: train on all model families but one, test on its dev prompts, add a line to experiments.csv.

    python benchmarks/experiment.py --name "3 layers frozen" --left-out llama-3-8b-instruct --set frozen_layers=3 \
        --base DIR data ../shared/data/coconot_judged ../shared/data/refusal_judged ../shared/data/xstest

Only the dev part of the prompts (three in ten) is read, so choices made here leave the test part unseen. The
columns are agreement and kappa of the verdict, F1 of any refusal and macro-F1 of the three refusal classes, for
the encoder alone and (`both_`) for the plain mean of its probabilities and the lexical tier's.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe
from numpy.typing import NDArray

from refusal_clf.calibration.agreement import agreement, expected_calibration_error, kappa, macro_f1
from refusal_clf.records import REFUSAL_CLASSES, VERDICTS
from refusal_clf.runtime.blend import answers, softmax
from refusal_clf.runtime.tokens import TokenBudget
from refusal_clf.training.dataset import IGNORE, load_examples, targets
from refusal_clf.training.finetune import FinetuneConfig, finetune, predict_logits
from refusal_clf.training.lexical import fit_lexical
from refusal_clf.training.network import from_base
from refusal_clf.training.release import load_base_tokenizer
from refusal_clf.training.results import part_of, refusal_f1

LEDGER = Path(__file__).with_name("experiments.csv")
COLUMNS = (
    "date machine name left_out settings tokens n_train seconds labels n agreement kappa both_agreement both_kappa "
    "ece refusal_f1 refusal_macro_f1 both_refusal_f1"
).split()


def figures(encoder: NDArray[np.float32], lexical: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, Any]:
    """Return one labels file's columns of the ledger."""
    result: dict[str, Any] = {}
    for head, names, columns in ((0, VERDICTS, slice(0, 3)), (1, REFUSAL_CLASSES, slice(3, 6))):
        known = labels[:, head] != IGNORE
        if known.sum() < 30:
            continue
        truth = labels[known, head]
        alone = softmax(encoder[known, columns])
        both = (alone + softmax(lexical[known, columns])) / 2
        said, said_both = answers(alone, names), answers(both, names)
        if head == 0:
            result |= {"agreement": agreement(truth, said), "kappa": kappa(truth, said)}
            result |= {"both_agreement": agreement(truth, said_both), "both_kappa": kappa(truth, said_both)}
            result["ece"] = expected_calibration_error(alone.max(1).astype(np.float64), said == truth)
        else:
            result |= {"refusal_f1": refusal_f1(truth, said), "refusal_macro_f1": macro_f1(truth, said)}
            result["both_refusal_f1"] = refusal_f1(truth, said_both)
    return {name: round(float(value), 4) for name, value in result.items()}


def settings(pairs: list[str]) -> FinetuneConfig:
    """Return the default hyperparameters with `name=value` pairs put in."""
    config = FinetuneConfig()
    for pair in pairs:
        name, value = pair.split("=", 1)
        kind = type(getattr(config, name)) if name in {field.name for field in fields(config)} else None
        if kind is None:
            raise SystemExit(f"no hyperparameter {name!r}")
        config = replace(config, **{name: kind(float(value))})
    return config


def main() -> None:
    """Run one experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", nargs="+", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--left-out", required=True, help="a model family")
    parser.add_argument("--base", required=True, type=Path)
    parser.add_argument("--tokens", type=int, default=TokenBudget().total)
    parser.add_argument("--set", action="append", default=[], metavar="HYPERPARAMETER=VALUE")
    options = parser.parse_args()
    config, budget = settings(options.set), TokenBudget(total=options.tokens)
    examples = load_examples(options.labels)
    train = [example for example in examples if example.family != options.left_out]
    test = [e for e in examples if e.family == options.left_out and part_of(e) == "dev"]
    started = time.monotonic()
    tokenizer = load_base_tokenizer(options.base)
    network = finetune(
        from_base(options.base, config.seed),
        tokenizer,
        train,
        config,
        budget,
        report=lambda line: print(line, flush=True),
    )
    seconds = round(time.monotonic() - started)
    encoder, lexical = (
        predict_logits(network, tokenizer, test, budget),
        fit_lexical(train).logits([e.text for e in test]),
    )
    labels, sources = targets(test), np.array([example.label.source for example in test])
    new = not LEDGER.exists() or not LEDGER.stat().st_size
    with LEDGER.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        if new:
            writer.writeheader()
        for source in sorted({str(source) for source in sources}):
            rows = sources == source
            line = {
                "date": datetime.date.today().isoformat(),
                "machine": describe()["processor"],
                "name": options.name,
                "left_out": options.left_out,
                "settings": " ".join(options.set),
                "tokens": options.tokens,
                "n_train": len(train),
                "seconds": seconds,
                "labels": source,
                "n": int(rows.sum()),
            } | figures(encoder[rows], lexical[rows], labels[rows])
            writer.writerow(line)
            print(line, flush=True)


if __name__ == "__main__":
    main()
