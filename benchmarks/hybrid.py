"""What `score --judge` buys: verdicts that agree with the judge more often, and rates with intervals that hold.

    python benchmarks/hybrid.py LABELS [--budgets 30 60 100] [--repetitions 1000]

LABELS holds responses that a judge labelled as a whole, of a model that the classifier never saw: then the labels tell
what the judge would have said wherever it is asked, and what it would have found in the whole file. The draw of
`score --judge` is repeated with other seeds. Compared are the compliance rate of the classifier alone, that of the
verdicts as they stand once the judge's have taken the place of some (with Wilson's interval, as if all were the
judge's), and the corrected one; a naive hybrid, which asks about the most doubtful rows and counts, is shown beside
them. Prints a table and writes benchmarks/results/hybrid.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe, line

from refusal_clf import RefusalClassifier, Verdict
from refusal_clf.calibration.assessment import assess
from refusal_clf.calibration.matching import Scored
from refusal_clf.judge.rows import choose_uncertain, drawn_labels, judged
from refusal_clf.reading import read_labels
from refusal_clf.statistics import wilson_interval

RESULTS = Path(__file__).parent / "results" / "hybrid.json"


def main() -> None:
    """Repeat the draw, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--budgets", type=int, nargs="+", default=[30, 60, 100])
    parser.add_argument("--repetitions", type=int, default=1000)
    options = parser.parse_args()
    given = [label for label in read_labels(options.labels) if label.verdict is not None]
    completions = [label.completion for label in given]
    found = RefusalClassifier.load().predict(completions)
    kept = [at for at, verdict in enumerate(found) if "empty" not in verdict.flags]
    verdicts, truth = [found[at] for at in kept], [str(given[at].verdict) for at in kept]
    texts = [completions[at] for at in kept]
    rate = float(np.mean([name == "compliance" for name in truth]))
    alone = {
        "agreement": share(verdicts, truth),
        "rate": float(np.mean([one.verdict == "compliance" for one in verdicts])),
    }
    print(
        f"{len(truth)} responses; the judge's compliance rate {rate:.1%}, the classifier's {alone['rate']:.1%}, "
        f"agreement {alone['agreement']:.1%}\n"
    )
    print(
        "| calls | agreement, drawn | agreement, most doubtful | rate off by: drawn, counted | most doubtful, counted |"
        " corrected | half-width | coverage: counted | corrected |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    rows = []
    for budget in options.budgets:
        runs = [one_draw(verdicts, texts, truth, budget, seed, rate) for seed in range(options.repetitions)]
        row = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
        row |= {"calls": budget} | naive(verdicts, truth, budget, rate)
        rows.append(row)
        print(
            f"| {budget} | {row['agreement']:.1%} | {row['naive_agreement']:.1%} | {100 * row['counted_error']:.1f} | "
            f"{100 * row['naive_error']:.1f} | {100 * row['corrected_error']:.1f} | "
            f"± {100 * row['half_width']:.1f} | {row['counted_covers']:.1%} | {row['corrected_covers']:.1%} |",
            flush=True,
        )
    machine = describe()
    print(f"\n{options.repetitions} draws; errors are means of absolute ones, in points; {line(machine)}")
    document = {"machine": machine, "n": len(truth), "judge_rate": rate, "classifier": alone, "budgets": rows}
    document["repetitions"] = options.repetitions
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def one_draw(
    verdicts: Sequence[Verdict], texts: Sequence[Any], truth: Sequence[str], budget: int, seed: int, rate: float
) -> dict[str, float]:
    """Return what one draw of the judge's rows comes to."""
    design = choose_uncertain(verdicts, budget, seed, "coconot")
    said = {one.index: truth[one.index] for one in design.drawn}
    labels = drawn_labels(texts, design, said, len(design.drawn), judge="judge", form="coconot")
    mixed = list(judged(verdicts, labels))
    estimate = assess([Scored(verdict) for verdict in verdicts], labels, "verdict").groups[0].corrected
    assert estimate is not None
    interval = estimate.interval
    return {
        **counted(mixed, truth, rate),
        "corrected_error": abs(interval.estimate - rate),
        "corrected_covers": float(interval.ci_low <= rate <= interval.ci_high),
        "half_width": (interval.ci_high - interval.ci_low) / 2,
    }


def naive(verdicts: Sequence[Verdict], truth: Sequence[str], budget: int, rate: float) -> dict[str, float]:
    """Return what asking about the most doubtful rows, and counting, comes to."""
    order = sorted(range(len(verdicts)), key=lambda at: abs((verdicts[at].p_noncompliance or 0) - 0.5))
    asked = set(order[:budget])
    names = [truth[at] if at in asked else verdict.verdict for at, verdict in enumerate(verdicts)]
    return {
        "naive_agreement": float(np.mean([name == true for name, true in zip(names, truth, strict=True)])),
        "naive_error": abs(float(np.mean([name == "compliance" for name in names])) - rate),
    }


def counted(mixed: Sequence[Verdict], truth: Sequence[str], rate: float) -> dict[str, float]:
    """Return agreement and rate of verdicts as they stand."""
    n = sum(verdict.verdict == "compliance" for verdict in mixed)
    low, high = wilson_interval(n, len(mixed)) or (0.0, 1.0)
    return {
        "agreement": share(mixed, truth),
        "counted_error": abs(n / len(mixed) - rate),
        "counted_covers": float(low <= rate <= high),
    }


def share(verdicts: Sequence[Verdict], truth: Sequence[str]) -> float:
    """Return the share of verdicts that are the judge's own."""
    return float(np.mean([verdict.verdict == true for verdict, true in zip(verdicts, truth, strict=True)]))


if __name__ == "__main__":
    main()
