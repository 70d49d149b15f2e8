"""Score a log of Inspect again, offline, beside the grader's scores that it holds.

    python benchmarks/inspect_rescore.py LABELS_FILE

Takes labelled completions of CoCoNot (JSON lines with `subset` and `verdict`), writes them as two logs in the layout
of inspect_evals' coconot with the labels as the grader's scores, and runs `inspect score` on each. Prints and stores
items, seconds (of the whole command, Python's start and Inspect's included), and agreement of the two and Cohen's
kappa with bootstrap intervals, in benchmarks/results/inspect_rescore.json. The shipped model was trained on this
project's labels: on those files agreement is no estimate for a model that it never saw (the README's table has that).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from inspect_ai.log import read_eval_log

from refusal_clf.calibration.agreement import agreement, bootstrap, kappa
from refusal_clf.ratings import JUDGE_WORDS

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from inspect_harness import samples_of, write_log
from machine import describe, line

RESULTS = Path(__file__).parent / "results" / "inspect_rescore.json"


def rescore(rows: list[dict[str, Any]], subset: str, folder: Path) -> dict[str, Any]:
    """Write a log, score it again with the command that a user runs, and compare the two scores of each sample."""
    words = JUDGE_WORDS[subset]
    log = write_log(folder, samples_of(rows, [words[row["verdict"]] for row in rows]))
    out = folder / f"{subset}-scored.eval"
    scorer = ["--scorer", "refusal_clf/coconot_classifier", "-S", f"subset={subset}"]
    command = [sys.executable, "-m", "inspect_ai", "score", log.location, *scorer]
    began = time.perf_counter()
    options = ["--action", "append", "--output-file", str(out), "--display", "none"]
    subprocess.run([*command, *options], check=True, capture_output=True)
    seconds = time.perf_counter() - began
    scored = read_eval_log(str(out))
    pairs = [(s.scores["stored_grader"].value, s.scores["coconot_classifier"].value) for s in scored.samples or []]
    judged = [(grader, ours) for grader, ours in pairs if isinstance(ours, str)]
    known = list(words.values())
    grader, ours = (np.array([known.index(pair[which]) for pair in judged]) for which in (0, 1))
    compliance = known.index(words["compliance"])
    return {
        "subset": subset,
        "items": len(pairs),
        "unscored": len(pairs) - len(judged),
        "seconds": round(seconds, 1),
        "agreement": bootstrap(agreement, grader, ours).to_dict(),
        "kappa": bootstrap(kappa, grader, ours).to_dict(),
        "compliance_grader": round(float((grader == compliance).mean()), 4),
        "compliance_classifier": round(float((ours == compliance).mean()), 4),
    }


def main() -> None:
    """Score both subsets again, print and store what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    rows = [json.loads(text) for text in options.file.read_text(encoding="utf-8").splitlines()]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for subset in JUDGE_WORDS:
            part = [row for row in rows if row["subset"] == subset and row.get("verdict")]
            if part:
                found.append(rescore(part, subset, Path(folder)))
                print(json.dumps(found[-1]))
    machine = {**describe(), "inspect_ai": version("inspect_ai")}
    print(line(machine))
    RESULTS.write_text(json.dumps({"machine": machine, "file": options.file.stem, "rows": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
