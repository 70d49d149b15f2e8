"""The shipped model's compliance rates beside a judge's own, for each subset and category of a labels file.

    python benchmarks/judge_rates.py LABELS_FILE...

The shipped model was trained on every labels file of this project, so that on those files this shows how `score`
reproduces known rates, not how it does on a model that it never saw: `refusal-clf evaluate` measures that.
Prints a table for each file, and writes benchmarks/results/judge_rates.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from refusal_clf import RefusalClassifier
from refusal_clf.reading import read_labels
from refusal_clf.statistics import wilson_interval

sys.path.insert(0, str(Path(__file__).parent))
from machine import describe, line

RESULTS = Path(__file__).parent / "results" / "judge_rates.json"


def main() -> None:
    """Score every file, print and store judge's and classifier's rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--model", help="a packaged model or a model directory")
    parser.add_argument("--tier", default="auto")
    options = parser.parse_args()
    classifier = RefusalClassifier.load(options.model)
    rows = []
    for file in options.files:
        labels = [label for label in read_labels(file) if label.verdict is not None]
        verdicts = classifier.predict((label.completion for label in labels), tier=options.tier)
        groups: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
        for label, verdict in zip(labels, verdicts, strict=True):
            key = (verdict.subset or "", verdict.category or "")
            groups.setdefault(key, []).append((label.verdict == "compliance", verdict.verdict == "compliance"))
        print(f"\n{file.stem}\n\n| subset | category | n | judge, % | refusal-clf, % | error, points |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
        for (subset, category), pairs in sorted(groups.items(), reverse=True):
            n = len(pairs)
            judged, answered = (sum(pair[index] for pair in pairs) for index in (0, 1))
            low, high = wilson_interval(answered, n) or (0.0, 1.0)
            print(
                f"| {subset} | {category} | {n} | {100 * judged / n:.1f} | {100 * answered / n:.1f} "
                f"[{100 * low:.1f}, {100 * high:.1f}] | {100 * (answered - judged) / n:+.1f} |"
            )
            rows.append(
                {
                    "file": file.stem,
                    "subset": subset,
                    "category": category,
                    "n": n,
                    "judge": judged / n,
                    "classifier": answered / n,
                }
            )
    machine = describe()
    print(f"\nmodel {classifier.name} {classifier.sha256[:12]}, tier {options.tier}; {line(machine)}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
