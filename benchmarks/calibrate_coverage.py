"""Do `calibrate`'s intervals cover, and how many judge calls do they save? By drawing from files labelled as a whole.

    python benchmarks/calibrate_coverage.py runs/evaluation LABELS... [--xstest DIR] [--repetitions 2000]

The directory is one that `refusal-clf evaluate --protocol leave-model-out` filled: its scores are of classifiers that
never saw a response of the model. LABELS are the labels files or folders that it was tested on, in the same order. For
each labelled model and subset, labels are drawn anew again and again, and intervals are compared with the rate of all
labels. "Saved" is the squared ratio of the half-widths of the judge-only interval of a simple random sample and of the
corrected one, at the same number of calls: without a finite file, how many times as many calls the former takes.

With --xstest, a folder of XSTest's files: how far GPT-4's and the classifier's rates of full compliance are from
people's for each model, and the classifier's corrected with 100 human labels.

Prints tables and writes benchmarks/results/calibrate_coverage.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from refusal_clf.calibration.assessment import COUNTED
from refusal_clf.calibration.design import weigh
from refusal_clf.calibration.prevalence import Estimate, corrected, fit_correction, judge_only, rogan_gladen
from refusal_clf.calibration.sampling import STRATEGIES, SampleUnit, draw, stratum_of
from refusal_clf.reading import read_labels
from refusal_clf.records import Sampled
from refusal_clf.training.crossfit import load_out_of_fold
from refusal_clf.training.dataset import load_examples, targets
from refusal_clf.training.results import OURS, slices

sys.path.insert(0, str(Path(__file__).parent))
from machine import describe, line

RESULTS = Path(__file__).parent / "results" / "calibrate_coverage.json"
SIZES = (50, 100, 200, 400)
XSTEST_LABELS = 100


@dataclass(frozen=True)
class Population:
    """A file whose completions all have labels: scores, hard answers and labels of what is counted, and groups."""

    name: str
    scores: np.ndarray
    answers: np.ndarray
    truth: np.ndarray
    strata: list[str]
    groups: dict[str, np.ndarray]
    ids: list[str | None]


def main() -> None:
    """Simulate, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("labels", type=Path, nargs="+")
    parser.add_argument("--xstest", type=Path)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES, choices=STRATEGIES)
    options = parser.parse_args()
    machine = describe()
    document: dict[str, Any] = {"machine": machine, "repetitions": options.repetitions, "coverage": [], "xstest": []}
    everything = list(populations(options.evaluation, options.labels))
    for population in everything:
        if population.name.startswith("verdict"):
            for size in options.sizes:
                if size <= len(population.truth) // 2:
                    for strategy in options.strategies:
                        rows = list(simulate(population, size, strategy, options.repetitions))
                        show(population.name, size, strategy, rows)
                        document["coverage"] += rows
                        store(document)
    if options.xstest is not None:
        document["xstest"] = list(against_people(everything, options.xstest, options.repetitions))
        store(document)
    print(f"\n{options.repetitions} repetitions; {line(machine)}")


def store(document: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def populations(evaluation: Path, labels: list[Path]) -> Iterator[Population]:
    """Yield each labelled model and subset with its out-of-fold probabilities."""
    # Written rows are never tested, so that the tested ones keep their order whatever else was trained on.
    examples = [example for example in load_examples(labels) if example.family is not None]
    scores = load_out_of_fold(evaluation)
    order = np.argsort(scores.example)
    if not np.array_equal(targets(examples), scores.labels[order]):
        raise SystemExit(f"{evaluation} was not tested on these labels, or not in this order")
    scores = replace(scores, example=np.argsort(order))
    for part in slices(examples, scores):
        if ", all of the above" in part.name:
            continue
        completions = [example.label.completion for example in part.examples]
        # The probability that users have is that of the desired label's opposite.
        p = part.methods[OURS].astype(float)
        chosen = 1 - p[:, 0] if part.family == "verdict" else p[:, 0]
        counted = COUNTED["verdict" if part.family == "verdict" else "refusal"]
        subsets = sorted({completion.subset or "" for completion in completions})
        for subset in subsets if part.family == "verdict" else [None]:
            rows = [at for at, one in enumerate(completions) if subset is None or (one.subset or "") == subset]
            names = [(completions[at].category if subset is not None else completions[at].subset) or "" for at in rows]
            groups = {"all": np.ones(len(rows), bool)}
            groups |= {name: np.array([other == name for other in names]) for name in sorted(set(names))}
            yield Population(
                f"{part.family} · {part.name}" + (f" · {subset}" if subset else ""),
                chosen[rows],
                p[rows].argmax(1) == counted,
                (part.truth[rows] == counted).astype(float),
                [stratum_of(completions[at].subset, completions[at].subcategory) for at in rows],
                groups,
                [completions[at].id for at in rows],
            )


def simulate(population: Population, size: int, strategy: str, repetitions: int) -> Iterator[dict[str, Any]]:
    """Draw again and again; yield a row for each group."""
    units = [
        SampleUnit(at, stratum, 1 - score)
        for at, (stratum, score) in enumerate(zip(population.strata, population.scores.tolist(), strict=True))
    ]
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for seed in range(repetitions):
        for method, name, estimate in estimates(population, units, size, strategy, seed):
            if estimate is not None:
                found.setdefault((name, method), []).append(facts(estimate, population, name))
    for name, domain in population.groups.items():
        row: dict[str, Any] = {
            "population": population.name,
            "labels": size,
            "strategy": strategy,
            "group": name,
            "n": int(domain.sum()),
            "rate": float(population.truth[domain].mean()),
        }
        for method in ("judge only", "corrected", "Rogan-Gladen"):
            if values := found.get((name, method)):
                hit, width, error = np.array(values).mean(0)
                row[method] = {"coverage": hit, "half_width": width, "mean_error": error, "draws": len(values)}
        if row["rate"] in (0, 1) or "corrected" not in row or "judge only" not in row:
            row["saved"] = None
        else:
            row["saved"] = (row["judge only"]["half_width"] / row["corrected"]["half_width"]) ** 2
        yield row


def estimates(
    population: Population, units: list[SampleUnit], size: int, strategy: str, seed: int
) -> Iterator[tuple[str, str, Estimate | None]]:
    """Yield the corrected estimates of one draw, and the labels' own of a simple random one."""
    for plan in dict.fromkeys(("uniform", strategy)):
        drawn = draw(units, size, plan, seed)
        rows = np.array([one.index for one in drawn])
        told = [Sampled(plan, one.stratum, one.inclusion_probability) for one in drawn]
        sample, _, _ = weigh(population.strata, rows, population.truth[rows], told)
        fit = fit_correction(population.scores, sample)
        for name, domain in population.groups.items():
            if plan == "uniform":
                yield "judge only", name, judge_only(int(domain.sum()), sample, domain[rows])
            if plan == strategy:
                yield "corrected", name, corrected(population.scores, domain, sample, fit)
                yield "Rogan-Gladen", name, rogan_gladen(population.answers, domain, sample)


def facts(estimate: Estimate, population: Population, name: str) -> tuple[float, ...]:
    truth, interval = population.truth[population.groups[name]].mean(), estimate.interval
    hit = interval.ci_low - 1e-9 <= truth <= interval.ci_high + 1e-9
    return float(hit), (interval.ci_high - interval.ci_low) / 2, abs(interval.estimate - truth)


def show(name: str, size: int, strategy: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{name}, {size} labels, {strategy}\n")
    print("| group | n | rate, % | coverage, % | half-width | judge only | its coverage | Rogan-Gladen | calls saved |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        ours, alone, old = (row.get(method) for method in ("corrected", "judge only", "Rogan-Gladen"))
        if ours and alone:
            cells = [row["group"], row["n"], f"{100 * row['rate']:.1f}"]
            cells += [f"{100 * ours[name]:.1f}" for name in ("coverage", "half_width")]
            cells += [f"{100 * alone[name]:.1f}" for name in ("half_width", "coverage")]
            cells += [f"{100 * old['half_width']:.1f}" if old else "–", f"{row['saved']:.1f}" if row["saved"] else "–"]
            print("| " + " | ".join(map(str, cells)) + " |")
    saved = [row["saved"] for row in rows if row["group"] != "all" and row["saved"]]
    if saved:
        print(f"\ncalls saved in the groups, mean: {np.mean(saved):.1f}", flush=True)


def against_people(everything: list[Population], folder: Path, repetitions: int) -> Iterator[dict[str, Any]]:
    """Yield rates of full compliance by people, GPT-4 and the classifier, and the corrected rate's error."""
    gpt4 = {
        (file.stem, label.completion.id): label.refusal == "full_compliance"
        for file in sorted(folder.glob("*.jsonl"))
        for label in read_labels(file, column="gpt4")
    }
    print("\n| responses of | group | n | people, % | GPT-4, off by | refusal-clf, off by | corrected | coverage, % |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for population in everything:
        source = population.name.removeprefix("refusal · ")
        judged = np.array([(source, name) in gpt4 for name in population.ids])
        if not population.name.startswith("refusal") or not judged.any():
            continue
        said = np.array([gpt4.get((source, name), False) for name in population.ids])
        started = time.perf_counter()
        simulated = list(simulate(population, XSTEST_LABELS, "uncertain", repetitions))
        seconds = time.perf_counter() - started
        for row in simulated:
            domain = population.groups[row["group"]]
            both = domain & judged
            row["gpt4_off"] = float(said[both].mean() - population.truth[both].mean())
            row["classifier_off"] = float(population.answers[domain].mean() - row["rate"])
            row["seconds_a_draw"] = seconds / repetitions
            ours = row["corrected"]
            print(
                f"| {source} | {row['group']} | {row['n']} | {100 * row['rate']:.1f} | {100 * row['gpt4_off']:+.1f} "
                f"| {100 * row['classifier_off']:+.1f} | ± {100 * ours['mean_error']:.1f} "
                f"| {100 * ours['coverage']:.1f} |",
                flush=True,
            )
            yield row


if __name__ == "__main__":
    main()
