"""How many answers change when the encoder is quantised: two exports of one training run, on real responses.

    python benchmarks/int8_flips.py FP32_MODEL_DIR INT8_MODEL_DIR FILE...

Prints a table, and writes benchmarks/results/int8_flips.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from refusal_clf import RefusalClassifier
from refusal_clf.reading import read_completions
from refusal_clf.statistics import wilson_interval

sys.path.insert(0, str(Path(__file__).parent))
from machine import describe, line

RESULTS = Path(__file__).parent / "results" / "int8_flips.json"


def main() -> None:
    """Score every file with both models, print and store the shares that differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fp32", type=Path)
    parser.add_argument("int8", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    models = [RefusalClassifier.load(directory) for directory in (options.fp32, options.int8)]
    totals = [0, 0, 0]
    print("| file | n | verdicts that flip | refusal classes that flip |\n| --- | --- | --- | --- |")
    for file in options.files:
        completions = list(read_completions(file))
        before, after = (model.predict(completions, tier="full") for model in models)
        counts = [
            len(completions),
            sum(a.verdict != b.verdict for a, b in zip(before, after, strict=True)),
            sum(a.refusal != b.refusal for a, b in zip(before, after, strict=True)),
        ]
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        print(f"| {file.stem} | {counts[0]} | {counts[1] / counts[0]:.2%} | {counts[2] / counts[0]:.2%} |")
    n, verdicts, refusals = totals
    low, high = wilson_interval(verdicts, n)
    print(f"| all | {n} | {verdicts / n:.2%} [{low:.2%}, {high:.2%}] | {refusals / n:.2%} |")
    machine = describe()
    print(f"\n{line(machine)}")
    RESULTS.parent.mkdir(exist_ok=True)
    document = {"machine": machine, "n": n, "verdict_flips": verdicts, "refusal_flips": refusals}
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
