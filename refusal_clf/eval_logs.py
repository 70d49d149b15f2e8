"""Inspect's evaluation logs (`.eval`) -> rows, through Inspect itself (the extra `inspect`)."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from refusal_clf.formats import Row
from refusal_clf.records import InputError

MAX_MEMBER_BYTES: Final = 128 * 2**20
"""The largest file in a log's archive, a sample with its events; Inspect unpacks each of them as a whole."""

_CHUNK: Final = 2**20
# What may be large and says nothing of prompt and response.
_UNREAD: Final = {"store", "events"}


def read_eval_log_rows(path: Path) -> Iterator[Row]:
    """Yield a row for each sample: `id`, `prompt`, `response`, `model`, `task`, `subset` and its `metadata`.

    The prompt is the user's last turn of the sample's input, the response the text of the model's output: empty where
    the sample ended in an error. A repetition (epoch 2 and on) has its number behind the id.

    Raises
    ------
    InputError
        If Inspect is not installed, or the file is no log that it reads, or a file in it is too large.
    """
    try:
        from inspect_ai.log import read_eval_log, read_eval_log_samples
    except ImportError as error:
        raise InputError("Inspect logs need an extra: pip install 'refusal-clf[inspect]'", file=path) from error
    try:
        _check_sizes(path)
        head = read_eval_log(str(path), header_only=True).eval
        subset = (head.task_args or {}).get("subset")
        shared = {"task": head.task, "model": head.model} | ({"subset": subset} if isinstance(subset, str) else {})
        samples = read_eval_log_samples(
            str(path), all_samples_required=False, resolve_attachments="core", exclude_fields=_UNREAD
        )
        for number, sample in enumerate(samples, start=1):
            yield Row(number, _values(sample, shared), str(sample.id))
    except InputError:
        raise
    except Exception as error:  # a damaged archive, JSON or schema raises as many kinds of errors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"not an Inspect log that can be read ({reason})", file=path) from error


def _check_sizes(path: Path) -> None:
    """Unpack every file in the archive and let it go: the sizes in its directory can be wrong, and Inspect reads on."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            member.file_size = sys.maxsize  # where zipfile would stop
            size = 0
            with archive.open(member) as stream:
                while size <= MAX_MEMBER_BYTES and (data := stream.read(_CHUNK)):
                    size += len(data)
            if size > MAX_MEMBER_BYTES:
                limit = MAX_MEMBER_BYTES // 2**20
                raise InputError(f"{member.filename[:80]!r} in it has more than {limit} MB", file=path)


def _values(sample: Any, shared: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    return {
        "id": str(sample.id) if sample.epoch == 1 else f"{sample.id} (epoch {sample.epoch})",
        "prompt": last_user_turn(sample.input),
        "response": sample.output.completion,
        **shared,
        "metadata": {name: value for name, value in (sample.metadata or {}).items() if name not in ("id", "model")},
    }


def last_user_turn(asked: Any) -> str:  # noqa: ANN401
    """Return the prompt of a sample's input, text or a chat: empty if no turn of it is the user's."""
    if isinstance(asked, str):
        return asked
    return next((str(turn.text) for turn in reversed(asked) if turn.role == "user"), "")
