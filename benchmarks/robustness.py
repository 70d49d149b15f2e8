"""How often a verdict flips when a response is written differently without another meaning.

    python benchmarks/robustness.py [MODEL] [--store]

Completions: data/samples and data/hard/test.jsonl, neither of which a shipped model was trained on. Prints a table
and, with --store, writes benchmarks/results/robustness.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import describe, line

from refusal_clf import Completion, RefusalClassifier
from refusal_clf.reading import read_completions
from refusal_clf.statistics import wilson_interval
from refusal_clf.training.augment import AUGMENTATIONS

DATA = Path(__file__).parents[1] / "data"
RESULTS = Path(__file__).parent / "results" / "robustness.json"


def main() -> None:
    """Score the completions plain and augmented, print and store the shares that differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="a packaged model or a directory")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/robustness.json")
    options = parser.parse_args()
    classifier = RefusalClassifier.load(options.model)
    completions = hard_and_samples()
    plain = classifier.predict(completions, tier="full")
    document = {"machine": describe(), "model": classifier.name, "sha256": classifier.sha256, "flips": {}}
    print("| change | verdicts that flip | 95 % interval | refusal classes that flip |\n| --- | ---: | --- | ---: |")
    for name, augment in AUGMENTATIONS.items():
        random = np.random.default_rng(0)
        changed = [replace(completion, response=augment(completion.response, random)) for completion in completions]
        found = classifier.predict(changed, tier="full")
        verdicts = sum(a.verdict != b.verdict for a, b in zip(plain, found, strict=True))
        refusals = sum(a.refusal != b.refusal for a, b in zip(plain, found, strict=True))
        n = len(plain)
        low, high = wilson_interval(verdicts, n)
        print(f"| {name.replace('_', ' ')} | {verdicts / n:.1%} | [{low:.1%}, {high:.1%}] | {refusals / n:.1%} |")
        document["flips"][name] = {"n": n, "verdicts": verdicts, "refusals": refusals}
    print(f"\n{line(document['machine'])}")
    if options.store:
        RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def hard_and_samples() -> list[Completion]:
    """Return the completions with a response that no shipped model was trained on."""
    return [
        completion
        for file in (DATA / "samples" / "completions.jsonl", DATA / "hard" / "test.jsonl")
        for completion in read_completions(file)
        if completion.response.strip()
    ]


if __name__ == "__main__":
    main()
