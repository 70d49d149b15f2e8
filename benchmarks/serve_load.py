"""`refusal-clf serve` under load over loopback: throughput, latency, memory over time, and a shutdown in the middle.

    python benchmarks/serve_load.py [COMPLETIONS] [--minutes 10] [--connections 32] [--rows 8] [--threads N]

Closed loop: each connection (aiohttp, kept alive) sends its next request when it has its answer. Requests hold --rows
completions of COMPLETIONS (default: data/samples), each made different by its number, so that no answer is remembered
from an earlier one. After --minutes the service gets SIGTERM under full load. A request is lost if it was sent whole
and its connection ended without an answer, unless the service had already hung up before it took it: the service's own
count of the requests that it answered with 200, its last word, must be the clients' count.
Needs: pip install 'refusal-clf[serve]' aiohttp psutil. Writes benchmarks/results/serve_load.json.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
from machine import describe, line

from refusal_clf.reading import read_completions

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "serve_load.json"
WARM_UP = 5.0
"""Seconds that are in no figure."""


class Load:
    """What the clients saw."""

    def __init__(self, url: str, texts: list[tuple[str, str]], rows: int) -> None:
        self.url, self.rows = url, rows
        self.texts = itertools.cycle(texts)
        self.numbers = itertools.count()
        self.began = time.perf_counter()
        self.seconds: list[float] = []
        self.answered = self.refused = self.turned_away = self.broken = 0
        self.stopping = False
        self.failure: str | None = None

    def body(self) -> dict[str, Any]:
        """Return a request of completions that no earlier one held."""
        completions = []
        for prompt, response in itertools.islice(self.texts, self.rows):
            completions.append({"prompt": prompt, "response": f"{response} ({next(self.numbers)})"})
        return {"completions": completions}

    async def client(self, session: aiohttp.ClientSession) -> None:
        """Send one request after the other, until the service is gone."""
        while True:
            began = time.perf_counter()
            try:
                async with session.post(self.url, json=self.body()) as reply:
                    answer = await reply.json()
            except aiohttp.ClientConnectorError:
                self.turned_away += 1
                return
            except aiohttp.ClientError as error:
                # Nothing of an answer came: the service hung up on a connection that was idle for it.
                self.broken += 1
                if not self.stopping:
                    self.failure = repr(error)
                return
            if reply.status != 200:
                self.refused += 1
                await asyncio.sleep(0.2)
                continue
            self.answered += 1
            if len(answer["verdicts"]) != self.rows:
                self.failure = f"{len(answer['verdicts'])} verdicts for {self.rows} completions"
            if not self.stopping and began - self.began > WARM_UP:
                self.seconds.append(time.perf_counter() - began)


async def watch(process: psutil.Process, until: float) -> list[float]:
    """Read the service's resident memory in MiB every second."""
    memory = []
    while time.perf_counter() < until:
        await asyncio.sleep(1)
        memory.append(process.memory_info().rss / 2**20)
    return memory


async def measure(url: str, service: subprocess.Popen[str], options: argparse.Namespace) -> dict[str, Any]:
    texts = [(row.prompt, row.response) for row in read_completions(options.completions) if row.response]
    load = Load(f"{url}/v1/verdicts", texts, options.rows)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:
        clients = [asyncio.create_task(load.client(session)) for _ in range(options.connections)]
        memory = await watch(psutil.Process(service.pid), load.began + 60 * options.minutes)
        measured = time.perf_counter() - load.began - WARM_UP
        load.stopping = True
        began = time.perf_counter()
        service.send_signal(signal.SIGTERM)
        await asyncio.gather(*clients)
        said = (await asyncio.to_thread(service.communicate))[1]
        shutdown = time.perf_counter() - began
    counted = int(re.findall(r"(\d+) requests answered", said)[-1])
    latency = 1000 * np.array(load.seconds)
    if load.failure is not None:
        raise SystemExit(load.failure)
    return {
        "connections": options.connections,
        "completions_per_request": options.rows,
        "minutes": options.minutes,
        "requests": len(latency),
        "requests_per_second": round(len(latency) / measured, 1),
        "completions_per_second": round(options.rows * len(latency) / measured, 1),
        "ms": {
            name: round(float(np.percentile(latency, q)), 1) for name, q in (("p50", 50), ("p99", 99), ("max", 100))
        },
        "mib": {
            "after_warm_up": round(memory[min(int(WARM_UP), len(memory) - 1)], 1),
            "end": round(memory[-1], 1),
            "peak": round(max(memory), 1),
            "each_minute": [round(value, 1) for value in memory[59::60]],
        },
        "shutdown": {
            "seconds": round(shutdown, 2),
            "answered_by_the_service": counted,
            "answers_received": load.answered,
            "lost": counted - load.answered,
            "connections_ended_between_requests": load.broken,
            "connections_refused_afterwards": load.turned_away,
        },
        "told_to_come_again": load.refused,
    }


def main() -> None:
    """Start the service, load it, end it, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("completions", type=Path, nargs="?", default=ROOT / "data" / "samples" / "completions.jsonl")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    command = [sys.executable, "-m", "refusal_clf", "serve", "--port", "0"]
    command += ["--threads", str(options.threads)] if options.threads else []
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        first = service.stderr.readline() if service.stderr else ""
        found = re.search(r"http://\S+", first)
        if found is None:
            raise SystemExit(f"the service did not start: {first}")
        result = asyncio.run(measure(found[0], service, options))
    finally:
        service.kill()
    machine = describe()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, **result}, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    print(line(machine))


if __name__ == "__main__":
    main()
