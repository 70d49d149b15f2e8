"""What the lexical tier's answers cost: agreement of `--tier auto`, `full` and `fast` with the labels of unseen models.

    python benchmarks/tiers.py runs/evaluation [--model MODEL]
    python benchmarks/tiers.py LABELS... [--model MODEL]

The evaluation's scores are of networks that never saw the models they score; thresholds and blends are the shipped
model's, which were fitted on these same scores (two numbers a head). With files of labels, the scores are the model's
own: on what it was trained on it agrees with the labels too well, and may need its second tier less. Differences are
paired, with 95 % bootstrap intervals. Prints a table; that of an evaluation is stored in benchmarks/results/tiers.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from machine import describe, line

from refusal_clf import RefusalClassifier
from refusal_clf.runtime.blend import answers
from refusal_clf.training.crossfit import load_out_of_fold
from refusal_clf.training.dataset import IGNORE, load_examples, targets

RESULTS = Path(__file__).parent / "results" / "tiers.json"


def main() -> None:
    """Compute, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="+", help="a directory of `evaluate`, or files of labels")
    parser.add_argument("--model", help="a packaged model or a directory")
    options = parser.parse_args()
    classifier = RefusalClassifier.load(options.model)
    config = classifier.config
    evaluated = options.source[0].is_dir()
    if evaluated:
        scores = load_out_of_fold(options.source[0])
        encoder, lexical, every_label = scores.encoder, scores.lexical, scores.labels
    else:
        examples = load_examples(options.source)
        lexical, encoder = classifier.logits([example.text for example in examples])
        every_label = targets(examples)
    heads = ((config.verdict, slice(0, 3)), (config.refusal, slice(3, 6)))
    quick = [head.fast.probabilities(None, lexical[:, columns]) for head, columns in heads]
    whole = [head.full.probabilities(encoder[:, columns], lexical[:, columns]) for head, columns in heads]
    unsure = np.logical_or.reduce([p.max(1) < head.fast_above for p, (head, _) in zip(quick, heads, strict=True)])
    document: dict[str, object] = {"machine": describe(), "to_encoder": round(float(unsure.mean()), 4)}
    print("| family | n | fast | auto | full | auto - full, points | auto and full agree |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for index, (name, (head, _)) in enumerate(zip(("verdict", "refusal"), heads, strict=True)):
        labels = every_label[:, index]
        known = labels != IGNORE
        fast, full = (answers(p[index], head.labels) for p in (quick, whole))
        auto = np.where(unsure, full, fast)
        right = {tier: (said == labels)[known] for tier, said in (("fast", fast), ("auto", auto), ("full", full))}
        lost = right["auto"].astype(float) - right["full"]
        random = np.random.default_rng(0)
        means = [100 * lost[random.integers(len(lost), size=len(lost))].mean() for _ in range(2000)]
        low, high = np.percentile(means, [2.5, 97.5])
        same = float((auto == full)[known].mean())
        rates = {tier: float(values.mean()) for tier, values in right.items()}
        print(
            f"| {name} | {known.sum()} | {rates['fast']:.1%} | {rates['auto']:.1%} | {rates['full']:.1%} | "
            f"{100 * lost.mean():+.2f} [{low:+.2f}, {high:+.2f}] | {same:.1%} |"
        )
        document[name] = {"n": int(known.sum()), **rates, "auto_equals_full": same, "loss_points": [low, high]}
    print(f"\n{document['to_encoder']:.0%} of the rows go to the encoder; {line(describe())}")
    if evaluated:
        RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
