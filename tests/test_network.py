"""Scoring opens no connection: not when every socket raises, and not where there is no network at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_harness import COMMAND, REPOSITORY, ROWS, needs_model, write_rows

pytestmark = needs_model

# Runs a command after every way to a socket, a name or a telemetry endpoint has been made to end the process.
_BLOCKED = """
import os, socket, sys
import _socket
def refuse(*arguments, **options):
    sys.stderr.write("a socket was asked for\\n")
    os._exit(99)
for module in (socket, _socket):
    for name in ("socket", "create_connection", "getaddrinfo", "gethostbyname", "socketpair", "fromfd"):
        if hasattr(module, name):
            setattr(module, name, refuse)
sys.addaudithook(lambda event, _: refuse() if event.startswith("socket.") else None)
from refusal_clf.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("command", ["score", "classify"])
def test_no_socket_is_asked_for(tmp_path: Path, command: str) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    arguments = [rows, "--out", tmp_path / "out"] if command == "score" else ["--response", "No."]
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKED, command, *map(str, arguments)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_block_would_be_noticed() -> None:
    code = _BLOCKED.replace("from refusal_clf.cli import main\nmain(sys.argv[1:])", "socket.socket()")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 99


def test_scoring_works_without_any_network_interface(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-n", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("a network namespace of its own takes Linux and the right to make one")
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    done = subprocess.run(
        [unshare, "-n", *COMMAND, "score", str(rows)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
