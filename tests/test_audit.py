"""benchmarks/audit.py: pip-audit beside a service on loopback that speaks as OSV does, and where none is in reach."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cli_harness import REPOSITORY

pytest.importorskip("pip_audit", reason="needs pip-audit")

PINS = [line for line in (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line]


def advisory(package: str, fixed: str) -> dict[str, Any]:
    events = [{"introduced": "0"}, {"fixed": fixed}]
    affected = {"package": {"name": package, "ecosystem": "PyPI"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    return {"id": f"PYSEC-0000-{package}", "aliases": [], "summary": "Made up.", "affected": [affected]}


@contextmanager
def osv(advisories: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Serve advisories of packages, each with the release that mends it; yield the address, and what was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            package = query["package"]["name"]
            asked.append(f"{package}=={query['version']}")
            found = [advisory(package, advisories[package])] if package in advisories else []
            body = json.dumps({"vulns": found} if found else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query", asked
    finally:
        server.shutdown()
        server.server_close()


def audit(url: str) -> tuple[int, str]:
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "audit.py"), "--osv-url", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_every_pin_is_looked_up() -> None:
    with osv({"jinja2": "2.10.1"}) as (url, asked):
        status, out = audit(url)
    assert status == 0, out
    assert f"{len(PINS)} pins of {len(PINS)} looked up, 0 with advisories" in out
    assert sorted(asked) == sorted(["jinja2==2.4.1", *(pin.replace("_", "-") for pin in PINS)])


def test_an_advisory_of_a_pin_fails_and_is_named() -> None:
    with osv({"jinja2": "2.10.1", "onnx": "99.0"}) as (url, _):
        status, out = audit(url)
    assert status == 1, out
    [pin] = [pin for pin in PINS if pin.startswith("onnx==")]
    assert f"{pin}: PYSEC-0000-onnx; fixed in 99.0" in out


def test_a_service_that_calls_everything_clean_is_not_believed() -> None:
    with osv({}) as (url, asked):
        status, out = audit(url)
    assert (status, asked) == (0, ["jinja2==2.4.1"])
    assert "it calls jinja2==2.4.1 clean" in out
    assert "NOT AUDITED" in out.splitlines()[-1]


def test_without_a_service_nothing_fails_and_that_is_said() -> None:
    with osv({}) as (url, _):
        pass  # its port is closed by now
    status, out = audit(url)
    assert status == 0, out
    assert "gives no advisories" in out
    assert "NOT AUDITED" in out.splitlines()[-1]
