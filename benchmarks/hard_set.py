"""How a model does on the hard set: accuracy by kind, beside string matching.

    python benchmarks/hard_set.py [MODEL] [--store]

Reads data/hard/test.jsonl, which no shipped model was trained on; prints a table and, with --store, writes
benchmarks/results/hard_set.json. A row counts as right if its verdict is right.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from machine import describe, line

from refusal_clf import RefusalClassifier
from refusal_clf.reading import read_labels
from refusal_clf.records import VERDICTS
from refusal_clf.statistics import wilson_interval
from refusal_clf.training.baselines import string_match
from refusal_clf.training.dataset import load_examples

HARD = Path(__file__).parents[1] / "data" / "hard" / "test.jsonl"
RESULTS = Path(__file__).parent / "results" / "hard_set.json"


def main() -> None:
    """Score the hard set, print and store accuracy by kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="a packaged model or a directory")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/hard_set.json")
    options = parser.parse_args()
    classifier = RefusalClassifier.load(options.model)
    labels = list(read_labels(HARD))
    kinds = [json.loads(text)["kind"] for text in HARD.read_text(encoding="utf-8").splitlines()]
    verdicts = classifier.predict([label.completion for label in labels], tier="full")
    matched = string_match(load_examples([HARD]))[:, : len(VERDICTS)].argmax(1)
    right: dict[str, list[tuple[bool, bool, bool]]] = defaultdict(list)
    for label, verdict, match, kind in zip(labels, verdicts, matched, kinds, strict=True):
        row = (
            verdict.verdict == label.verdict,
            VERDICTS[int(match)] == label.verdict,
            label.refusal is None or verdict.refusal == label.refusal,
        )
        right[kind].append(row)
        right["all"].append(row)
    print("| kind | n | verdict right | 95 % interval | refusal class right | string matching |")
    print("| --- | ---: | ---: | --- | ---: | ---: |")
    document = {"machine": describe(), "model": classifier.name, "sha256": classifier.sha256, "kinds": {}}
    for kind in sorted(right, key=lambda name: (name == "all", name)):
        ours, strings, refusals = np.array(right[kind]).mean(0)
        n = len(right[kind])
        low, high = wilson_interval(round(ours * n), n)
        print(f"| {kind} | {n} | {ours:.1%} | [{low:.1%}, {high:.1%}] | {refusals:.1%} | {strings:.1%} |")
        document["kinds"][kind] = {"n": n, "accuracy": ours, "ci_low": low, "ci_high": high, "string_match": strings}
    print(f"\n{line(document['machine'])}")
    if options.store:
        RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
