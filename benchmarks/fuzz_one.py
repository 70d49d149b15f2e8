"""Feed one target of tests/fuzz_targets.py under atheris; `fuzz.py` starts it, and it takes libFuzzer's options.

python benchmarks/fuzz_one.py TARGET SECONDS CORPUS_FOLDER... [-max_len=1000]

It ends after so many seconds of processor time, which a busy machine does not shorten, and prints the number of inputs.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
with atheris.instrument_imports(
    include=["refusal_clf", "fuzz_targets", "fuzz_writers", "fuzz_reports", "fuzz_commands"]
):
    import fuzz_targets


def main() -> None:
    """Fuzz until a finding or the end of the time."""
    target, seconds = sys.argv.pop(1), float(sys.argv.pop(1))
    end, inputs = time.process_time() + seconds, 0

    def one(data: bytes) -> None:
        nonlocal inputs
        if time.process_time() > end:
            _say(inputs)
            os._exit(0)  # libFuzzer has no other end but a finding; what it keeps is on disk already
        inputs += 1
        try:
            fuzz_targets.run(target, data)
        except BaseException:
            _say(inputs)
            raise

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


def _say(inputs: int) -> None:
    sys.stdout.write(f"\ninputs: {inputs}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
