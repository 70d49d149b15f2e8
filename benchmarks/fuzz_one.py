"""Feed one target of tests/fuzz_targets.py under atheris; `fuzz.py` starts it, and it takes libFuzzer's options.

python benchmarks/fuzz_one.py TARGET CORPUS_FOLDER... [-max_total_time=60]
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
with atheris.instrument_imports(
    include=["refusal_clf", "fuzz_targets", "fuzz_writers", "fuzz_reports", "fuzz_commands"]
):
    import fuzz_targets


def main() -> None:
    """Fuzz until a finding or the end of the time."""
    target = sys.argv.pop(1)
    atheris.Setup(sys.argv, lambda data: fuzz_targets.run(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
