"""What each choice of the encoder tier brings: precision, batches side by side, and the size of a batch.

    python benchmarks/engine.py FP32_MODEL_DIR INT8_MODEL_DIR FILE [--rows 400] [--repeats 3]

Two exports of one training run (`refusal-clf export`, without and with --int8). Every row of the printed table is
measured in turn and the turns repeated, so that a busy moment of the machine falls on all alike; medians are printed,
and written to benchmarks/results/engine.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import onnxruntime
from machine import describe, line

from refusal_clf.reading import read_completions
from refusal_clf.runtime import encoder
from refusal_clf.runtime.layout import ENCODER_FILE, TOKENIZER_FILE, read_config
from refusal_clf.runtime.tokens import Encoded, encode, load_tokenizer, pad
from refusal_clf.text import prepare

RESULTS = Path(__file__).parent / "results" / "engine.json"
BATCHES = (256, 512, 1024, 2048, 4096)


def one_after_another(model: Path, threads: int) -> Callable[[Sequence[Encoded]], object]:
    """Return what runs one batch at a time, all threads within each operator."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def run(texts: Sequence[Encoded]) -> None:
        for indices in encoder._batches(texts):
            session.run([encoder.OUTPUT], pad([texts[index] for index in indices]))

    return run


def side_by_side(model: Path, threads: int) -> Callable[[Sequence[Encoded]], object]:
    """Return what runs a batch in each thread, as the package does."""
    tier = encoder.EncoderTier(model, threads)
    return lambda texts: tier.submit(texts).result()


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fp32", type=Path)
    parser.add_argument("int8", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    threads = encoder.available_processors()
    texts = [prepare(completion) for completion in islice(read_completions(options.file), options.rows)]
    tokenizer = load_tokenizer(options.int8 / TOKENIZER_FILE)
    encoded = encode(tokenizer, texts, read_config(options.int8).budget)
    fp32, int8 = options.fp32 / ENCODER_FILE, options.int8 / ENCODER_FILE
    runs: dict[str, tuple[int, Callable[[Sequence[Encoded]], object]]] = {
        "fp32, one batch at a time": (1024, one_after_another(fp32, threads)),
        "fp32, a batch in each thread": (1024, side_by_side(fp32, threads)),
        "int8, one batch at a time": (1024, one_after_another(int8, threads)),
    }
    beside = side_by_side(int8, threads)
    runs |= {f"int8, a batch of {size:,} tokens in each thread": (size, beside) for size in BATCHES}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for name in [*runs] * (options.repeats + 1):  # the first turn warms up
        encoder._BATCH_TOKENS, run = runs[name]
        started = time.perf_counter()
        run(encoded)
        seconds[name].append(time.perf_counter() - started)
    rates = {name: len(encoded) / statistics.median(times[1:]) for name, times in seconds.items()}
    first = next(iter(rates.values()))
    print("| encoder | rows a second | against the first |\n| --- | ---: | ---: |")
    for name, rate in rates.items():
        print(f"| {name} | {rate:.0f} | {rate / first:.2f} |")
    machine = describe()
    print(f"\n{len(encoded)} rows of {options.file.stem}, {threads} threads; {line(machine)}")
    RESULTS.write_text(json.dumps({"machine": machine, "rows": len(encoded), "rows_a_second": rates}, indent=2) + "\n")


if __name__ == "__main__":
    main()
