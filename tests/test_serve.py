"""`refusal-clf serve`: the service in a process of its own, over real connections."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from cli_harness import COMMAND, REPOSITORY, assert_one_error, needs_model, process, run

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from refusal_clf.records import Completion, Verdict
from refusal_clf.serving.batcher import Batcher, ClosedError, FullError

ROW = {"id": "1", "prompt": "How do I kill a process?", "response": "I can't help with that.", "subcategory": None}


class Service:
    def __init__(self, running: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = running, port

    def ask(self, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, data, headers)
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        is_json = "json" in (reply.getheader("content-type") or "")
        return reply.status, json.loads(text) if is_json else text

    def verdicts(self, *rows: Any, **options: Any) -> tuple[int, Any]:
        return self.ask("POST", "/v1/verdicts", {"completions": list(rows)}, **options)


@contextmanager
def started(*options: str, env: dict[str, str] | None = None) -> Iterator[Service]:
    command = [*COMMAND, "serve", "--port", "0", "--threads", "1", *options]
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, env={**os.environ, **(env or {})}
    )
    try:
        lines = iter(running.stderr.readline, "")
        port = next(int(found[1]) for line in lines if (found := re.search(r"serving on http://[\d.]+:(\d+)", line)))
        yield Service(running, port)
    finally:
        running.kill()
        running.communicate()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with started("--max-bytes", "20000", "--max-completions", "4") as one:
        yield one


@needs_model
def test_verdicts_are_those_of_the_command_line(service: Service) -> None:
    rows = [
        ROW | {"subcategory": "false presuppositions"},
        {"prompt": "Hello?", "response": "Sure, here it is.", "id": "2", "model": "m", "category": "safety"},
        {"id": "3", "response": None},
    ]
    status, answer = service.verdicts(*rows)
    told = process("classify", stdin="".join(json.dumps(row) + "\n" for row in rows))
    assert status == 200
    assert answer["verdicts"] == [json.loads(line) for line in told.out.splitlines()]
    assert len(answer["classifier"]["sha256"]) == 64


@needs_model
@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "the body is no JSON"),
        (b"[" * 5000, 400, "."),
        ({"completions": []}, 422, "completions: "),
        ({"completions": [{"prompt": "x"}]}, 422, "completions.0.response: "),
        ({"completions": [ROW | {"instruction": "x"}]}, 422, "completions.0.instruction: "),
        ({"completions": [ROW | {"response": 3}]}, 422, "completions.0.response: "),
        ({"completions": [ROW] * 5}, 413, "5 completions; at most 4"),
        ({"completions": [ROW | {"response": "x" * 30000}]}, 413, "more than 20,000 bytes"),
    ],
)
def test_what_is_wrong_with_a_request_is_one_line(service: Service, body: Any, status: int, said: str) -> None:
    found, answer = service.ask("POST", "/v1/verdicts", body)
    assert found == status
    assert re.search(said, answer["detail"])
    assert "\n" not in answer["detail"]


@needs_model
def test_a_body_without_a_length_is_measured_as_it_comes(service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    chunks = iter([b"x" * 15000, b"x" * 15000])
    connection.request("POST", "/v1/verdicts", chunks, {"Content-Type": "application/json"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


@needs_model
def test_health_metrics_and_the_openapi_document(service: Service) -> None:
    service.verdicts(ROW)
    status, health = service.ask("GET", "/health")
    assert (status, health["status"], health["waiting"]) == (200, "ok", 0)
    metrics = service.ask("GET", "/metrics")[1]
    assert re.search(r'^refusal_clf_requests_total\{status="200"\} [1-9]', metrics, re.MULTILINE)
    assert "refusal_clf_request_seconds_bucket" in metrics
    document = service.ask("GET", "/openapi.json")[1]
    assert set(document["paths"]) == {"/v1/verdicts", "/health"}
    assert document["components"]["schemas"]["CompletionIn"]["examples"][0]["subcategory"] == "false presuppositions"


@needs_model
def test_requests_are_counted_by_status_whoever_refused_them(service: Service) -> None:
    def counted() -> dict[str, float]:
        found = re.findall(
            r'^refusal_clf_requests_total\{status="(\d+)"\} (\S+)', service.ask("GET", "/metrics")[1], re.M
        )
        return {status: float(number) for status, number in found}

    before = counted()
    bodies = [{"completions": [ROW]}, b"{", {"completions": []}, {"completions": [ROW] * 5}, b"x" * 30000]
    statuses = [service.ask("POST", "/v1/verdicts", body)[0] for body in bodies]
    assert statuses == [200, 400, 422, 413, 413]
    assert {status: number - before.get(status, 0) for status, number in counted().items()} == {
        "200": 1,
        "400": 1,
        "422": 1,
        "413": 2,
    }


@needs_model
def test_a_key_is_asked_for_before_the_body_is_read() -> None:
    with started("--api-key-env", "SERVE_KEY", env={"SERVE_KEY": "let-me-in"}) as service:
        assert service.verdicts(ROW)[0] == 401
        assert service.verdicts(ROW, key="let-me-out")[0] == 401
        assert service.ask("GET", "/metrics")[0] == 401
        assert service.verdicts(ROW, key="let-me-in")[0] == 200
        assert service.ask("GET", "/health")[0] == 200


@needs_model
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_what_was_taken_is_answered(ending: signal.Signals) -> None:
    with started("--tier", "full", "--max-batch", "8") as service, ThreadPoolExecutor(8) as pool:
        rows = [ROW | {"response": f"{'word ' * 400}{number}"} for number in range(16)]
        asked = [pool.submit(service.verdicts, *rows) for _ in range(8)]
        # Until each is taken: it waits, or has its answer.
        while service.ask("GET", "/health")[1]["waiting"] + 16 * sum(one.done() for one in asked) < 8 * 16:
            time.sleep(0.02)
        service.process.send_signal(ending)
        answers = [one.result() for one in asked]
        _, said = service.process.communicate(timeout=120)
        assert service.process.returncode == 0
        assert said == "ended: 8 requests answered\n"
    assert [(status, len(answer["verdicts"])) for status, answer in answers] == [(200, 16)] * 8


def test_a_key_that_is_not_there_is_one_line() -> None:
    assert_one_error(run("serve", "--api-key-env", "NO_SUCH_KEY"), "NO_SUCH_KEY holds no key")


@needs_model
def test_a_port_in_use_is_one_line(service: Service) -> None:
    assert_one_error(run("serve", "--port", str(service.port)), rf"cannot listen on 127.0.0.1:{service.port} \(")


# --- the batcher --------------------------------------------------------------------------------------------------


def verdict(completion: Completion) -> Verdict:
    return Verdict(completion.id, "generic", None, None, None, None, "neither", None, None, None, "rule")


def named(*names: str) -> list[Completion]:
    return [Completion(id=name) for name in names]


def test_jobs_that_come_meanwhile_are_judged_together_and_each_gets_its_own() -> None:
    sizes: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def predict(completions: Sequence[Completion]) -> list[Verdict]:
        begun.set()
        go_on.wait(10)
        return [verdict(completion) for completion in completions]

    batcher = Batcher(predict, max_batch=4, max_waiting=7, on_batch=sizes.append)
    first = batcher.submit(named("a"))
    begun.wait(10)
    jobs = [first, *(batcher.submit(named(f"{name}1", f"{name}2")) for name in "bcd")]
    with pytest.raises(FullError):
        batcher.submit(named("e"))
    go_on.set()
    batcher.close()
    assert sizes == [1, 4, 2]
    assert [[one.id for one in job.result()] for job in jobs] == [["a"], ["b1", "b2"], ["c1", "c2"], ["d1", "d2"]]
    with pytest.raises(ClosedError):
        batcher.submit(named("f"))


def test_who_has_an_answer_waits_no_more() -> None:
    batcher = Batcher(lambda completions: [verdict(one) for one in completions], max_batch=1, max_waiting=9)
    waiting: list[int] = []
    batcher.submit(named("a")).add_done_callback(lambda _: waiting.append(batcher.waiting))
    batcher.close()
    assert waiting == [0]


def test_a_failure_reaches_its_callers_and_the_next_job_is_judged() -> None:
    def predict(completions: Sequence[Completion]) -> list[Verdict]:
        if completions[0].id == "bad":
            raise ValueError("no")
        return [verdict(completion) for completion in completions]

    batcher = Batcher(predict, max_batch=1, max_waiting=9)
    bad, good = batcher.submit(named("bad")), batcher.submit(named("good"))
    assert isinstance(bad.exception(10), ValueError)
    assert good.result(10)[0].id == "good"
    batcher.close()
