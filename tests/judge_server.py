"""A judge on a loopback port that answers as it is told: well, late, wrongly, or not at all."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What the server does with a request: wait, then send a status, headers and a body (or half of it)."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False


def completion(text: str | None, prompt_tokens: int = 100, completion_tokens: int = 20, **changes: Any) -> Any:
    """Return a chat completion as OpenAI's interface gives it."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "judge-0001",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    } | changes


def labelled(label: str = "noncompliance") -> Reply:
    return Reply(completion(f"It declines.\n<label>{label}</label>"))


def problem(status: int, message: str, headers: dict[str, str] | None = None, **more: Any) -> Reply:
    return Reply(
        {"error": {"message": message, "type": "error", "param": None, "code": None} | more}, status, headers or {}
    )


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # the client was killed
            super().handle_error(request, client_address)


Behaviour = Callable[[int, dict[str, Any]], Reply]
"""Number of the chat request, from 1, and its body -> what is done with it."""


class JudgeServer:
    """Counts and keeps what it is asked; `answered` counts the questions that got an answer by what they are about."""

    has_batches = True

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.keys: list[str] = []
        self.answered: Counter[str] = Counter()
        self.in_flight = self.most_in_flight = 0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.polls_before_end = 1
        self.batch_result: Callable[[dict[str, Any]], dict[str, Any] | None] = batch_row
        self.lock = threading.Lock()
        self._http = _Server(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def chat(self, body: dict[str, Any], key: str) -> Reply:
        with self.lock:
            self.requests.append(body)
            self.times.append(time.monotonic())
            self.keys.append(key)
            number = len(self.requests)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            reply = self.behaviour(number, body)
            time.sleep(reply.delay)
        finally:
            with self.lock:
                self.in_flight -= 1
        return reply

    def create_batch(self, request: dict[str, Any]) -> dict[str, Any]:
        batch_id = f"batch_{len(self.batches) + 1}"
        self.batches[batch_id] = {
            "id": batch_id,
            "object": "batch",
            "endpoint": request["endpoint"],
            "completion_window": request["completion_window"],
            "created_at": 1,
            "input_file_id": request["input_file_id"],
            "metadata": request["metadata"],
            "status": "in_progress",
            "polls": 0,
        }
        return self.batches[batch_id]

    def poll_batch(self, batch_id: str) -> dict[str, Any]:
        batch = self.batches[batch_id]
        batch["polls"] += 1
        if batch["polls"] > self.polls_before_end and batch["status"] == "in_progress":
            requests = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
            rows = [row for request in requests if (row := self.batch_result(request)) is not None]
            good = [row for row in rows if '"status_code": 200' in json.dumps(row["response"])]
            for name, chosen in (("output", good), ("error", [row for row in rows if row not in good])):
                if chosen:
                    # As vLLM writes it: characters stand as they are.
                    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
                    self.files[f"{batch_id}-{name}"] = "".join(lines).encode()
                    batch[f"{name}_file_id"] = f"{batch_id}-{name}"
            batch["status"] = "completed"
        return batch

    def __enter__(self) -> JudgeServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[JudgeServer]:
    with JudgeServer(behaviour) as server:
        yield server


def batch_row(request: dict[str, Any], text: str = "Fine.\n<label>compliance</label>") -> dict[str, Any]:
    """Return the line of a batch's output for one request."""
    return {
        "id": "r",
        "custom_id": request["custom_id"],
        "response": {"status_code": 200, "body": completion(text)},
        "error": None,
    }


def question_of(body: dict[str, Any]) -> str:
    """Return what tells a chat's question: the code of a judge's material, else the request itself."""
    content = body["messages"][-1]["content"]
    return next(iter(re.findall(r"^BEGIN RESPONSE (\w+)$", content, re.MULTILINE)), content)


def _handler(server: JudgeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/v1/models":
                models = [
                    {"id": name, "object": "model", "created": 1, "owned_by": "me"} for name in ("judge", "other")
                ]
                self._send(Reply({"object": "list", "data": models}))
            elif not server.has_batches:
                self._send(problem(404, "no such path"))
            elif self.path.startswith("/v1/batches/") and self.path.rsplit("/", 1)[1] not in server.batches:
                self._send(problem(404, "no such batch"))
            elif self.path.startswith("/v1/batches/"):
                self._send(Reply(server.poll_batch(self.path.rsplit("/", 1)[1])))
            elif self.path.startswith("/v1/batches"):
                listed = list(reversed(server.batches.values()))
                self._send(Reply({"object": "list", "data": listed, "has_more": False}))
            elif self.path.startswith("/v1/files/") and self.path.split("/")[3] in server.files:
                self._send(Reply(server.files[self.path.split("/")[3]]))
            else:
                self._send(problem(404, "no such path"))

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if len(content) < int(self.headers["Content-Length"]):  # the client was killed as it sent it
                return
            if self.path == "/v1/chat/completions":
                body = json.loads(content)
                self._send(server.chat(body, self.headers["Authorization"]), question_of(body))
            elif self.path == "/v1/files" and server.has_batches:
                file_id = f"file_{len(server.files) + 1}"
                server.files[file_id] = re.findall(rb'name="file".*?\r\n\r\n(.*?)\r\n--', content, re.DOTALL)[0]
                self._send(Reply({"id": file_id, "object": "file", "bytes": 1, "created_at": 1, "purpose": "batch"}))
            elif self.path == "/v1/batches" and server.has_batches:
                self._send(Reply(server.create_batch(json.loads(content))))
            else:
                self._send(problem(404, "no such path"))

        def _send(self, reply: Reply, question: str | None = None) -> None:
            data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if reply.cut else data)
                self.wfile.flush()
            except OSError:  # the client is gone
                return
            if reply.cut:
                self.close_connection = True
            elif question is not None and reply.status == 200:
                with server.lock:
                    server.answered[question] += 1

        def log_message(self, *_: object) -> None:
            pass

    return Handler
