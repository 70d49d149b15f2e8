"""What tens of one's own labels add: the classifier as it is beside `RefusalEstimator`'s regression on top of it.

    python benchmarks/own_labels.py LABELS.jsonl [--refusal] [--sizes 20 50 100 200] [--draws 100]

Draws as many labels as a size says, stratified, fits on them and measures agreement on all others. The file's
responses should be of a model that the classifier was not trained on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit

from refusal_clf import RefusalClassifier
from refusal_clf.integrations.scikit_learn import RefusalEstimator, features
from refusal_clf.reading import read_labels
from refusal_clf.records import REFUSAL_CLASSES, VERDICTS
from refusal_clf.runtime.blend import answers


def main() -> None:
    """Print a line for each size: agreement of both, in per cent, and of the estimator its 5th and 95th percentile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--refusal", action="store_true", help="refusal classes, in place of verdicts")
    parser.add_argument("--column", help="the field that holds the labels, as in `calibrate`")
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 50, 100, 200])
    parser.add_argument("--draws", type=int, default=100)
    options = parser.parse_args()
    labels = list(read_labels(options.labels, column=options.column))
    truth = np.array([label.refusal if options.refusal else label.verdict for label in labels], dtype=object)
    known = np.array([value is not None for value in truth])
    truth = truth[known].astype(str)
    completions = [label.completion for label, keep in zip(labels, known, strict=True) if keep]
    probabilities = RefusalClassifier.load().probabilities(completions)
    half, names = (probabilities[:, 3:], REFUSAL_CLASSES) if options.refusal else (probabilities[:, :3], VERDICTS)
    right = np.array(names)[answers(half, names)] == truth
    inputs = features(probabilities)
    print("| labels | classifier | estimator |\n| ---: | ---: | ---: |")
    for size in options.sizes:
        both = []
        for fit, rest in StratifiedShuffleSplit(options.draws, train_size=size, random_state=0).split(inputs, truth):
            head = RefusalEstimator().head().fit(inputs[fit], truth[fit])
            both.append((right[rest].mean(), (head.predict(inputs[rest]) == truth[rest]).mean()))
        plain, fitted = 100 * np.array(both).T
        low, high = np.percentile(fitted, [5, 95])
        print(f"| {size} | {plain.mean():.1f} | {fitted.mean():.1f} [{low:.1f}, {high:.1f}] |")
    print(f"\n{len(truth)} responses, {options.draws} draws")


if __name__ == "__main__":
    main()
