"""One classifier in many threads, in forked and in spawned processes, and under an event loop."""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from refusal_clf import Completion, RefusalClassifier
from refusal_clf.reading import read_completions
from refusal_clf.records import Verdict


@pytest.fixture(scope="module")
def completions(samples: Path) -> list[Completion]:
    return list(read_completions(samples))[:60]


@pytest.fixture(scope="module")
def expected(model_dir: Path, completions: list[Completion]) -> list[Verdict]:
    return RefusalClassifier.load(model_dir, threads=1).predict(completions, tier="full")


def test_threads_that_share_a_classifier_get_the_answers_of_one_alone(model_dir, completions, expected) -> None:
    clf = RefusalClassifier.load(model_dir, threads=2)  # nothing is loaded yet: they race for that, too
    start = threading.Barrier(8)

    def ask(_: int) -> list[Verdict]:
        start.wait()
        return clf.predict(completions, tier="full")

    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(ask, range(8)))


def test_an_event_loop_can_hand_requests_to_threads(model_dir, completions, expected) -> None:
    clf = RefusalClassifier.load(model_dir, threads=1)

    async def ask_all() -> list[list[Verdict]]:
        asked = (asyncio.to_thread(clf.predict, [one], tier="full") for one in completions[:16])
        return await asyncio.gather(*asked)

    assert [found for [found] in asyncio.run(ask_all())] == expected[:16]


def test_the_argument_bounds_the_threads_that_answer(model_dir, completions) -> None:
    clf = RefusalClassifier.load(model_dir, threads=2)
    before = threading.active_count()
    most = 0
    for _ in clf.stream(completions, tier="full"):
        most = max(most, threading.active_count() - before)
    assert most == 2


def _ask(model: Path, completions: list[Completion], answers) -> None:
    answers.put(RefusalClassifier.load(model, threads=1).predict(completions, tier="full"))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_have_classifiers_of_their_own(method, model_dir, completions, expected) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    workers = [context.Process(target=_ask, args=(model_dir, completions, answers)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert [answers.get(timeout=60) for _ in workers] == [expected, expected]
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0


def _ask_with(clf: RefusalClassifier, completions: list[Completion], answers) -> None:
    answers.put(clf.predict(completions, tier="full"))


def test_a_classifier_that_was_used_before_a_fork_answers_after_it(model_dir, completions, expected) -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork here")
    context = multiprocessing.get_context("fork")
    clf = RefusalClassifier.load(model_dir, threads=2)
    clf.predict(completions, tier="full")
    answers = context.Queue()
    worker = context.Process(target=_ask_with, args=(clf, completions, answers))
    worker.start()
    try:
        assert answers.get(timeout=20) == expected
    finally:
        worker.kill()


def test_a_process_ends_although_a_stream_was_left_halfway() -> None:
    code = (
        "from refusal_clf import *\nclf = RefusalClassifier.load(threads=2)\n"
        "stream = clf.stream([Completion(response=f'No {n}.') for n in range(2000)], tier='full')\nnext(stream)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
