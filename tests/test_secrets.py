"""A key reaches its endpoint and nothing else: no process list, no child's arguments, no output, traceback or file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_harness import REPOSITORY, ROWS, needs_model, write_rows
from judge_harness import KEY
from judge_server import Reply, completion, labelled, problem, serving

PROC = Path("/proc")
pytestmark = pytest.mark.skipif(not (PROC / "self" / "cmdline").exists(), reason="no /proc to see the processes in")

# Writes down every start of another process whose arguments hold the key, and does what its first argument says.
WATCHED = """
import os, sys
def watch(event, given):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.spawn"):
        told = given[1:3] if event == "os.spawn" else given[:2]
        if os.environ["SECRET"] in repr(told):
            os.write(int(os.environ["TOLD"]), event.encode() + b"\\n")
sys.addaudithook(watch)
exec(sys.argv.pop(1))
"""
COMMAND_LINE = "from refusal_clf.cli import main; main()"


def process_lists() -> bytes:
    """Return the arguments of every process there is."""
    found = []
    for path in PROC.glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:  # it has ended
            continue
    return b"".join(found)


def start(tmp_path: Path, code: str, *arguments: str | Path, **env: str) -> subprocess.Popen[str]:
    with (tmp_path.parent / f"{tmp_path.name}.told").open("wb") as told:
        return subprocess.Popen(
            [sys.executable, "-c", WATCHED, code, *map(str, arguments)],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "SECRET": KEY,
                "TOLD": str(told.fileno()),
                "NAME_OF_KEY": KEY,
                "HOME": str(tmp_path),
                **env,
            },
            pass_fds=[told.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def assert_kept(tmp_path: Path, *texts: str) -> None:
    assert (tmp_path.parent / f"{tmp_path.name}.told").read_text() == ""
    for text in texts:
        assert KEY not in text
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_the_watch_sees_a_child_that_is_told_the_key(tmp_path: Path) -> None:
    code = "import os, subprocess; subprocess.run(['true', os.environ['SECRET']])"
    running = start(tmp_path, code)
    assert running.wait() == 0
    with pytest.raises(AssertionError):
        assert_kept(tmp_path)
    running = start(tmp_path, "import time; print('up', flush=True); time.sleep(60)", KEY)
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"  # before that, its arguments may not be in their place
        assert KEY.encode() in process_lists()
    finally:
        running.kill()
        running.communicate()
    assert KEY.encode() not in process_lists()


Given = Callable[[Path, Path, str], list[str | Path]]
COMMANDS: dict[str, Given] = {
    "judge": lambda rows, out, url: ["judge", rows, "--model", "m", "--base-url", url, "--out", out / "l.jsonl"],
    "generate": lambda rows, out, url: [
        *("generate", "--suite", rows, "--model", "m", "--base-url", url, "--out", out / "c.jsonl")
    ],
    "score": lambda rows, out, url: [
        *(
            "score",
            rows,
            "--judge",
            "m",
            "--judge-budget",
            "6",
            "--judge-base-url",
            url,
            "--out",
            out,
            "--report",
            "html",
        )
    ],
}


def _answer(_: int, body: dict[str, Any]) -> Reply:
    # A judge, or a model, that says what it was sent.
    return Reply(completion(f"My key is {KEY}. <label>compliance</label>")) if body else labelled()


def _refuse(number: int, body: dict[str, Any]) -> Reply:
    return problem(401, f"Incorrect API key provided: {KEY}") if number > 2 else _answer(number, body)


@needs_model
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(("behaviour", "status"), [(_answer, 0), (_refuse, 1)])
def test_a_key_is_told_to_the_endpoint_alone(tmp_path: Path, name: str, behaviour: Any, status: int) -> None:
    pytest.importorskip("openai")
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    option = "--judge-api-key-env" if name == "score" else "--api-key-env"
    seen: list[bytes] = []

    def watched(number: int, body: dict[str, Any]) -> Reply:
        seen.append(process_lists())
        return behaviour(number, body)

    with serving(watched) as server:
        arguments = COMMANDS[name](rows, tmp_path / "out", server.url)
        running = start(tmp_path, COMMAND_LINE, *arguments, option, "NAME_OF_KEY", "--debug", OPENAI_LOG="debug")
        out, err = running.communicate()
    assert running.returncode == status, err
    assert ("Traceback" in err) == bool(status)
    assert "openai._base_client" in err  # openai's own log is on
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert seen
    assert all(KEY.encode() not in found and b"NAME_OF_KEY" in found for found in seen)
    assert_kept(tmp_path, out, err)


@needs_model
def test_the_key_of_a_server_is_in_no_answer_and_no_log(tmp_path: Path) -> None:
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        pytest.importorskip(package)
    arguments = ("serve", "--port", "0", "--api-key-env", "NAME_OF_KEY", "--debug")
    running = start(tmp_path, COMMAND_LINE, *arguments)
    assert running.stderr is not None
    said = ""
    while "http://" not in said:
        line = running.stderr.readline()
        assert line, said
        said += line
    address = next(word for word in said.split() if word.startswith("http://")).rstrip("/,;")
    answers = []
    for path in ("/health", "/metrics", "/openapi.json", "/v1/verdicts", "/none"):
        for key in (KEY, f"{KEY}x", None):
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            try:
                with urllib.request.urlopen(urllib.request.Request(address + path, headers=headers)) as answer:
                    answers.append((answer.status, answer.read().decode()))
            except urllib.error.HTTPError as error:
                answers.append((error.code, error.read().decode()))
    assert {status for status, _ in answers} >= {200, 401}
    assert KEY.encode() not in process_lists()
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate()
    assert_kept(tmp_path, out, said + err, *(text for _, text in answers))
