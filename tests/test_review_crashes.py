"""What is left when a review is ended, killed, or cannot write: every label that it confirmed, and nothing half."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from cli_harness import COMMAND, REPOSITORY, ROWS, assert_one_error, needs_model, run, write_rows

from refusal_clf.locking import locked_file

pytestmark = [needs_model, pytest.mark.skipif(os.name == "nt", reason="Windows has neither these signals nor locks")]


class Session:
    """A review in a process of its own, in whose file no more than `most_kib` KiB fit."""

    def __init__(self, rows: Path, out: Path, most_kib: int | str = "unlimited") -> None:
        bounded = ["bash", "-c", f'ulimit -f {most_kib}; exec "$@"', "bash"]
        self.process = subprocess.Popen(
            [*bounded, *COMMAND, "review", str(rows), "--queue", "random", "--out", str(out)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.host, self.path = self.process.stdout.readline().strip().removeprefix("http://").split("/", 1)

    def label(self, place: int) -> tuple[int, str]:
        """Give a label and return the answer's status and text."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        body = json.dumps({"place": place, "field": "verdict", "value": "compliance"})
        connection.request("POST", f"/{self.path}label", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal and return the exit status and what was said on standard error."""
        self.process.send_signal(number)
        said = self.process.communicate()[1]
        return self.process.returncode, said


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", ROWS)


def labels_in(path: Path) -> int:
    return sum(json.loads(line)["verdict"] == "compliance" for line in path.read_text().splitlines())


def test_whatever_ends_a_review_keeps_its_labels_and_the_next_goes_on(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.jsonl"
    for done, (sent, status) in enumerate([(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 0)], start=1):
        session = Session(rows, out)
        assert session.label(done)[0] == 200
        ended, said = session.end(sent)
        assert (ended, "Traceback" in said) == (status, False)
        assert labels_in(out) == done
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.jsonl", "rows.jsonl"]


def test_a_second_review_of_the_same_file_is_refused(rows: Path, tmp_path: Path) -> None:
    with locked_file(tmp_path / "mine.jsonl"):
        outcome = run("review", rows, "--queue", "random", "--out", tmp_path / "mine.jsonl")
    assert_one_error(outcome, r"mine\.jsonl: another run is writing this file")


def test_a_label_that_does_not_fit_on_the_disk_is_refused_and_the_others_stay(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.jsonl"
    session = Session(rows, out, most_kib=1)
    answers = [session.label(place) for place in range(8)]
    assert answers[0][0] == 200
    assert answers[-1] == (500, "File too large")
    assert labels_in(out) == sum(status == 200 for status, _ in answers)
    assert "Traceback" not in session.end(signal.SIGTERM)[1]


def test_labels_whose_folder_goes_are_not_confirmed(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels" / "mine.jsonl"
    session = Session(rows, out)
    assert session.label(0)[0] == 200
    shutil.rmtree(out.parent)
    status, said = session.label(1)
    assert status == 500
    assert "was changed since it was read" in said
    session.end(signal.SIGTERM)
