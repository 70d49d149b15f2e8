"""The batch interface of OpenAI and those who copy it: half the price, answers within a day, resumed after any end."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final

import openai

from refusal_clf.formats import parse_json
from refusal_clf.judge.client import TransientError
from refusal_clf.judge.judging import Judging
from refusal_clf.judge.prompts import Question
from refusal_clf.judge.store import Call, OpenBatch
from refusal_clf.records import InputError

_ENDPOINT: Final = "/v1/chat/completions"
_METADATA_NAME: Final = "refusal_clf"
_MAX_REQUESTS: Final = 10_000
_MAX_BYTES: Final = 90 * 2**20
"""A fifth and a half of what OpenAI takes in one file."""
_ENDED: Final = ("completed", "failed", "expired", "cancelled")
_PATIENCE: Final = 5  # retries of requests that cost nothing
_LISTED: Final = 200  # recent batches among which a submission without an answer is looked for


async def collect_open(judging: Judging, poll: float, say: Callable[[str], None]) -> None:
    """Collect the batches that an earlier run submitted, waiting for them.

    Raises
    ------
    InputError
        If the endpoint fails, or has no batch interface.
    """
    for batch in judging.store.open_batches():
        batch_id = batch.batch_id or await _find(judging, batch.token)
        if batch_id is None:  # it was never submitted
            judging.store.batch_closed(batch.token)
            continue
        judging.store.batch_submitted(batch.token, batch_id)
        await _finish(judging, OpenBatch(batch.token, batch_id), poll, say)


async def ask_in_batches(
    judging: Judging, questions: Sequence[Question], poll: float, say: Callable[[str], None]
) -> None:
    """Ask questions in batches, those without a label a second time, as far as the budget goes.

    Parameters
    ----------
    poll
        Seconds between two looks at a batch.
    say
        Told of submissions and changes.

    Raises
    ------
    InputError
        If the endpoint fails, or no batch has given an answer yet when one ends.
    """
    waiting = deque(questions)
    before = judging.progress.answers
    while waiting and not judging.progress.limit_reached:
        calls, lines = _affordable(judging, waiting)
        if not calls:
            break
        token = uuid.uuid4().hex
        judging.store.begin_batch(token, calls)
        batch_id = await _submit(judging, token, lines)
        say(f"batch {batch_id}: {len(calls):,} rows submitted")
        problem = await _finish(judging, OpenBatch(token, batch_id), poll, say)
        if judging.progress.answers == before:
            raise InputError(f"batch {batch_id} ended without an answer ({problem or 'no reason given'})")
        asked = {call.key for call in calls}
        by_key = {question.key: question for question in questions if question.key in asked}
        waiting.extend(
            by_key[call.key]
            for call in calls
            if not judging.finished(call.key) and call.key not in judging.progress.failed
        )


def _affordable(judging: Judging, waiting: deque[Question]) -> tuple[list[Call], list[bytes]]:
    """Take questions from the left, as many as the budget and one file hold."""
    calls: list[Call] = []
    lines: list[bytes] = []
    size = 0
    while waiting and len(calls) < _MAX_REQUESTS and size < _MAX_BYTES:
        question = waiting[0]
        attempt = judging.attempts(question.key) + 1
        most = judging.most(question, attempt)
        if not judging.budget.reserve(most):
            # What this batch does not cost is given back, and may do for another one.
            judging.progress.limit_reached = not calls
            break
        waiting.popleft()
        request = {
            "custom_id": f"{question.key}-{attempt}",
            "method": "POST",
            "url": _ENDPOINT,
            "body": judging.client.body(question.messages(attempt)),
        }
        lines.append(json.dumps(request).encode() + b"\n")
        size += len(lines[-1])
        calls.append(Call(question.key, attempt, most, judging.client.endpoint.max_tokens))
    return calls, lines


async def _submit(judging: Judging, token: str, lines: list[bytes]) -> str:
    """Upload a batch and start it; on a failure nothing is lost, for the next run looks for the token."""
    api = judging.client.api
    uploaded = False
    try:
        upload = await api.with_options(max_retries=_PATIENCE).files.create(
            file=(f"{token}.jsonl", b"".join(lines)), purpose="batch"
        )
        uploaded = True
        # Not repeated: a second try could start a second batch, and both would be paid for.
        batch = await api.batches.create(
            input_file_id=upload.id, endpoint=_ENDPOINT, completion_window="24h", metadata={_METADATA_NAME: token}
        )
    except (openai.OpenAIError, ValueError) as error:
        if not uploaded:  # so nothing was started
            judging.store.batch_closed(token)
        raise await judging.client.explain(error, "no batch could be submitted") from None
    judging.store.batch_submitted(token, batch.id)
    return str(batch.id)


async def _find(judging: Judging, token: str) -> str | None:
    """Return the batch that was submitted under a token; None if there is none."""
    try:
        listed = judging.client.api.with_options(max_retries=_PATIENCE).batches.list(limit=100)
        recent = [batch async for batch in _first(listed, _LISTED)]
    except openai.NotFoundError:  # an endpoint without batches
        return None
    except (openai.OpenAIError, ValueError) as error:
        raise await judging.client.explain(error, "the batches could not be listed") from None
    return next((str(batch.id) for batch in recent if (batch.metadata or {}).get(_METADATA_NAME) == token), None)


async def _first(pages: Any, n: int) -> Any:  # noqa: ANN401
    seen = 0
    async for item in pages:
        yield item
        seen += 1
        if seen == n:
            return


async def _finish(judging: Judging, batch: OpenBatch, poll: float, say: Callable[[str], None]) -> str | None:
    """Wait for a batch's end and store its answers; return the first reason for a missing one."""
    api = judging.client.api.with_options(max_retries=_PATIENCE)
    told = None
    try:
        while True:
            found = await api.batches.retrieve(batch.batch_id)
            if found.status != told:
                say(f"batch {batch.batch_id}: {found.status}")
                told = found.status
            if found.status in _ENDED:
                break
            await asyncio.sleep(poll)
        files = [found.output_file_id, found.error_file_id]
        texts = [(await api.files.content(file)).text for file in files if file]
    except openai.NotFoundError as error:
        return _lose(judging, batch, str(await judging.client.explain(error, "there is nothing left of it")), say)
    except (openai.OpenAIError, ValueError) as error:
        raise await judging.client.explain(error, f"batch {batch.batch_id} could not be collected") from None
    problems = [str(getattr(item, "message", item)) for item in islice(getattr(found.errors, "data", None) or [], 1)]
    rows = _rows(texts)
    with judging.store.transaction():
        problems += _store(judging, batch.token, rows)
        judging.store.batch_closed(batch.token)
    return judging.client.redact(problems[0]) if problems else None


def _rows(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of result files; a line that is none is passed over."""
    # Not `splitlines`: JSON may hold U+2028 and U+0085 as they are, and an answer would be cut in two, and lost.
    return [row for text in texts for line in text.split("\n") if (row := _parsed(line)) is not None]


def _lose(judging: Judging, batch: OpenBatch, reason: str, say: Callable[[str], None]) -> str:
    """Give up a batch that the endpoint does not know any more, and its calls, which may have been billed."""
    say(f"batch {batch.batch_id} cannot be collected: {reason}")
    for key, _ in judging.store.calls_of(batch.token):
        judging.progress.failed[key] = reason
        judging.budget.lose()
    with judging.store.transaction():
        judging.store.batch_lost(batch.token, reason)
    return reason


def _store(judging: Judging, token: str, rows: list[dict[str, Any]]) -> list[str]:
    """Store a batch's results; return the reasons of the calls that got none."""
    calls = {f"{key}-{attempt}": (key, *call) for (key, attempt), call in judging.store.calls_of(token).items()}
    problems = []
    for row in rows:
        if (call := calls.pop(str(row.get("custom_id")), None)) is None:
            continue
        key, number, most = call
        given = row.get("response")
        response = given if isinstance(given, dict) else {}
        body, status = response.get("body"), response.get("status_code")
        try:
            if status != 200:
                raise TransientError(_reason(row.get("error") or body, status))
            judging.keep(number, key, most, judging.client.answer(body))
        except TransientError as error:
            reason = judging.client.redact(error.reason)
            problems.append(reason)
            judging.store.failed(number, reason)
            judging.budget.release(most)
            judging.progress.failed[key] = reason
    for key, _, most in calls.values():  # it expired, or was cancelled, before they were made
        judging.budget.release(most)
        judging.progress.failed[key] = "not answered in the batch"
    return problems


def _reason(error: Any, status: object) -> str:  # noqa: ANN401
    inner = error.get("error", error) if isinstance(error, dict) else error
    message = inner.get("message") if isinstance(inner, dict) else inner
    return f"HTTP {status}: {message}" if status else str(message)


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        row = parse_json(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
