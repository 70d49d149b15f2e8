"""The shipped model's verdicts on the samples, under every supported release of what runs it.

    python benchmarks/versions.py --write                      # tests/golden.json, after a new model was released
    python benchmarks/versions.py [--pythons python3.12 ...]   # an environment for each release, compared with it

Each environment holds the base install's packages alone, with one release of onnxruntime and of tokenizers; the oldest
of Python takes the oldest of both. Prints a line each and writes benchmarks/results/versions.json. Downloads about
100 MB for each environment.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "versions.json"
GOLDEN = ROOT / "tests" / "golden.json"
SAMPLES = ROOT / "data" / "samples" / "completions.jsonl"
RELEASES = (("1.23.0", "0.20.0"), ("1.24.*", "0.21.*"), ("1.26.*", "0.22.*"), ("", ""))
"""onnxruntime and tokenizers, the oldest supported first; empty is the newest."""


def main() -> None:
    """Write the golden verdicts, or compare environments with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write tests/golden.json with this environment")
    parser.add_argument("--here", action="store_true", help="print what this environment says, as JSON")
    parser.add_argument("--pythons", nargs="+", default=[sys.executable], help="interpreters from 3.11 on")
    options = parser.parse_args()
    if options.write:
        GOLDEN.write_text(json.dumps(verdicts(), indent=1) + "\n", encoding="utf-8")
    elif options.here:
        print(json.dumps(verdicts()))
    else:
        compare(options.pythons)


def verdicts() -> dict[str, Any]:
    """Return what the shipped model says of every sample, under both tiers."""
    from refusal_clf import RefusalClassifier
    from refusal_clf.reading import read_completions

    clf = RefusalClassifier.load(threads=1)
    completions = list(read_completions(SAMPLES))
    return {
        "model": clf.sha256,
        **{
            tier: {
                str(verdict.id): [verdict.verdict, verdict.p_noncompliance, verdict.refusal, verdict.p_refusal]
                for verdict in clf.predict(completions, tier=tier)
            }
            for tier in ("fast", "full")
        },
    }


def furthest(found: dict[str, Any], golden: dict[str, Any]) -> dict[str, Any]:
    """Return how many verdicts differ, and by how much a probability does at most."""
    pairs = [(found[tier][key], wanted) for tier in ("fast", "full") for key, wanted in golden[tier].items()]
    return {
        "verdicts": len(pairs),
        "changed": sum((one[0], one[2]) != (other[0], other[2]) for one, other in pairs),
        "largest_difference": max(
            abs(one[at] - other[at]) for one, other in pairs for at in (1, 3) if other[at] is not None
        ),
    }


def compare(pythons: list[str]) -> None:
    """Make the environments one after the other."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    rows = []
    for number, python in enumerate(pythons):
        for onnxruntime, tokenizers in RELEASES if number == 0 else RELEASES[-1:]:
            with tempfile.TemporaryDirectory() as scratch:
                rows.append(try_one(Path(scratch), python, onnxruntime, tokenizers, golden))
            print(json.dumps(rows[-1]), flush=True)
    RESULTS.write_text(json.dumps({"environments": rows}, indent=2) + "\n", encoding="utf-8")


def try_one(scratch: Path, python: str, onnxruntime: str, tokenizers: str, golden: dict[str, Any]) -> dict[str, Any]:
    """Install one set of releases and compare its verdicts."""
    subprocess.run([python, "-m", "venv", str(scratch / "venv")], check=True)
    own = str(scratch / "venv" / "bin" / "python")
    wanted = [
        f"{name}=={release}" if release else name
        for name, release in (("onnxruntime", onnxruntime), ("tokenizers", tokenizers))
    ]
    names = ("onnxruntime", "tokenizers", "numpy", "safetensors")
    row: dict[str, Any] = {"python": subprocess.check_output([own, "--version"], text=True).split()[1]}
    packages = [*wanted, "numpy", "safetensors", "typer", "rich"]
    done = subprocess.run([own, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return row | {"wanted": wanted, "not_installable": done.stderr.strip().splitlines()[-1][:200]}
    shown = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    row |= json.loads(subprocess.check_output([own, "-c", shown, *names], text=True))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([own, __file__, "--here"], capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        return row | {"failed": done.stderr.strip().splitlines()[-1]}
    return row | furthest(json.loads(done.stdout), golden)


if __name__ == "__main__":
    main()
