"""Write `data/manifest.json`: the sha256, the number of rows and the use of every data file.

    python data/manifest.py

Run it after a change to the data. `tests/test_samples.py` compares the files with it, and
`refusal-clf train data` reads only the files that are for training.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(__file__).parent
TRAINED_ON: Final = ("synthetic/*.jsonl", "hard/train.jsonl")
ON_TRIAL: Final = (
    "contrast_pairs",
    "mixed_refusals",
    "modern_assistants",
    "notes_and_hedges",
    "soft_all_models",
    "traps_two",
    "weak_two",
    "xstest_manner",
)
"""Files of `synthetic/` that the shipped model was not trained on: with all of them in, held-out models were judged
worse (`benchmarks/experiments.csv`); which of them help is not known yet."""


def use_of(path: Path) -> str:
    """Say what a file, given by its path within `data/`, is for."""
    if path.parent.name == "synthetic" and path.stem in ON_TRIAL:
        return "on trial"
    return "training" if any(path.match(pattern) for pattern in TRAINED_ON) else "held out"


def describe(file: Path) -> dict[str, Any]:
    """Return one file's entry: its path within `data/`, its sha256 and its number of rows."""
    content, path = file.read_bytes(), file.relative_to(DATA)
    return {
        "path": path.as_posix(),
        "sha256": hashlib.sha256(content).hexdigest(),
        "rows": len(content.splitlines()),
        "use": use_of(path),
    }


if __name__ == "__main__":
    entries = [describe(file) for file in sorted(DATA.rglob("*.jsonl"))]
    (DATA / "manifest.json").write_text(json.dumps({"files": entries}, indent=2) + "\n", encoding="utf-8")
