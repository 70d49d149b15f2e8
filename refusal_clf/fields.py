"""Rows -> fields: the names that the field's tools give to prompts, responses and metadata.

Names are matched without regard to case, spaces and hyphens. What a row means is decided from that row alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from refusal_clf.formats import kind_of, parse_json

PROMPT: Final = ("prompt", "instruction", "question", "input", "goal", "query", "user")
RESPONSE: Final = (
    "response", "output", "completion", "generation", "model_output", "generated_text", "prediction",
    # Often the reference answer or the whole document: the response only where nothing above is a column.
    "answer", "text",
)  # fmt: skip
MESSAGES: Final = ("messages", "conversation", "conversations")
HARNESS: Final = ("filtered_resps", "resps")
_METADATA: Final = {
    "id": ("id", "doc_id", "idx", "index", "prompt_id"),
    "suite": ("suite", "dataset", "task", "benchmark"),
    "subset": ("subset", "split"),
    "category": ("category",),
    "subcategory": ("subcategory", "sub_category"),
    "model": ("model", "model_name", "generator"),
    "type": ("type",),
}
_NESTED: Final = ("metadata", "meta")
# Splits of a training set, not subsets of a benchmark.
_TRAINING_SPLITS: Final = {"train", "test", "validation", "valid", "val", "dev", "default"}
_MAX_SUITE_NAME: Final = 80  # a longer "task" is an instruction, not a name

_USERS: Final = {"user", "human"}
_MODELS: Final = {"assistant", "gpt", "model", "bot", "ai"}

_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")


class FieldError(ValueError):
    """A row that cannot be used; its text names the field."""


class MissingFieldError(FieldError):
    """A row without any field of the kind that is needed: in a table, every row lacks it."""


@dataclass(frozen=True, slots=True)
class Fields:
    """A row's content under canonical names; `type` is XSTest's kind of prompt."""

    prompt: str
    response: str
    id: str | None
    suite: str | None
    subset: str | None
    category: str | None
    subcategory: str | None
    model: str | None
    type: str | None


def read_fields(row: Mapping[str, Any], *, need_response: bool = True) -> Fields:
    """Return what a row says, whatever names it uses.

    Parameters
    ----------
    row
        One record of a file.
    need_response
        False for labels files, which may name completions by id alone.

    Raises
    ------
    FieldError
        If the response is missing, or it or the prompt is a number, a boolean or an object.
    """
    folded = fold_names(row)
    harness = any(name in folded for name in HARNESS)
    # A task's own fields (its id, category, prompt) stand inside `doc` in lm-evaluation-harness samples.
    doc = _object(folded.get("doc")) if harness else {}
    nested = [_object(folded.get(name)) for name in _NESTED]
    metadata = {name: _metadata((folded, doc, *nested), names) for name, names in _METADATA.items()}
    if metadata["suite"] is not None and len(metadata["suite"]) > _MAX_SUITE_NAME:
        metadata["suite"] = None
    if metadata["subset"] is not None and metadata["subset"].lower() in _TRAINING_SPLITS:
        metadata["subset"] = None
    response = _harness_response(folded) if harness else _response(folded)
    if response is None:
        if need_response:
            found = ", ".join(str(name) for name in row) or "no fields"
            raise MissingFieldError(f"no response field (found: {found})")
        response = ""
    return Fields(prompt=_prompt(folded, doc), response=response, **metadata)


def fold_names(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row under names in lower case, with underscores for spaces and hyphens."""
    return {_fold(name): value for name, value in row.items()}


def clean(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 file can hold."""
    return _SURROGATES.sub("\ufffd", text)


def text_of(value: object) -> str | None:
    """Return a metadata value (a name or a number) as text; None for null, blank, NaN, lists and objects."""
    if value is None or isinstance(value, list | dict | bytes):
        return None
    if isinstance(value, float):
        if math.isnan(value):  # pandas writes missing cells so
            return None
        value = int(value) if value.is_integer() else value
    return clean(str(value)).strip() or None


@lru_cache(maxsize=4096)
def _fold(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", name.strip()).lower()


def _object(value: object) -> dict[str, Any]:
    return fold_names(value) if isinstance(value, dict) else {}


def _metadata(places: tuple[Mapping[str, Any], ...], names: tuple[str, ...]) -> str | None:
    """Return the first usable value; the first name wins over the nearest place (an `id` in `doc` over `doc_id`)."""
    values = (text_of(place.get(name)) for name in names for place in places)
    return next((value for value in values if value is not None), None)


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _response(folded: Mapping[str, Any]) -> str | None:
    """Return the response, or None if no field can hold one."""
    present = [name for name in RESPONSE if name in folded]
    chats = [name for name in MESSAGES if not _missing(folded.get(name))]
    if present == ["text"] and chats:
        present = []
    if "text" in present and len(present) > 1:
        present.remove("text")
    if "answer" in present and len(present) > 1:
        present.remove("answer")
    given = [name for name in present if not _missing(folded[name])]
    if not given and chats:
        return _last_turn(folded[chats[0]], chats[0], _MODELS)
    texts = [_text(folded[name], name, _MODELS) for name in given[:1]]
    if texts == [""] and len(given) > 1:
        # CoCoNot's evaluation files carry an empty `response`; outputs are added beside it under another name.
        texts += [value for name in given[1:] if isinstance(value := folded[name], str)]
    if not present:
        return None
    return next((clean(text) for text in texts if text), "")


def _harness_response(folded: Mapping[str, Any]) -> str:
    """Return the first generation of an lm-evaluation-harness sample."""
    name = next((name for name in HARNESS if folded.get(name) not in (None, [])), HARNESS[0])
    value = folded.get(name)
    while isinstance(value, list) and value and isinstance(value[0], list | str) and not isinstance(value, str):
        value = value[0]
    if value is None or value == []:
        return ""
    if not isinstance(value, str):
        raise FieldError(f"field '{name}' holds no generated text (a log-likelihood task?)")
    return clean(value)


def _prompt(folded: Mapping[str, Any], doc: Mapping[str, Any]) -> str:
    """Return the prompt, empty if there is none; a field that is no text gives way to one that is."""
    wrong: FieldError | None = None
    for place in (folded, doc):
        for name in PROMPT:
            value = place.get(name)
            if _missing(value) or value == "" or (name == "user" and not isinstance(value, str)):
                continue  # `user` is an account more often than a turn
            try:
                text = _text(value, name, _USERS)
            except FieldError as error:
                wrong = wrong or error
                continue
            extra = place.get("input")
            if name == "instruction" and isinstance(extra, str) and extra.strip() and text not in extra:
                text = f"{text}\n\n{extra}"  # the Alpaca layout: `input` is what the instruction is about
            return clean(text)
    for name in MESSAGES:
        if not _missing(folded.get(name)):
            return _last_turn(folded[name], name, _USERS)
    if wrong is not None:
        raise wrong
    return _arguments(folded.get("arguments"))


def _arguments(value: object) -> str:
    """Return the context of an lm-evaluation-harness request, in its older (list) or newer (object) layout."""
    while isinstance(value, list | dict) and value:
        value = value[0] if isinstance(value, list) else next(iter(value.values()))
    return clean(value) if isinstance(value, str) else ""


def _text(value: object, name: str, roles: set[str]) -> str:
    """Return a field's text: text itself, a chat's last turn, content parts, or a list of one text."""
    if _missing(value):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and "content" in value:
        return _content(value["content"], name)
    if isinstance(value, list):
        if any(isinstance(item, dict) and _role(item) for item in value):
            return _last_turn(value, name, roles)
        if not value or all(isinstance(item, dict) for item in value):
            return _content(value, name)
        if len(value) == 1:
            return _text(value[0], name, roles)
        raise FieldError(f"field '{name}' is a list of {len(value)}; write one row for each")
    raise FieldError(f"field '{name}' is {kind_of(value)}, not text")


def _role(turn: Mapping[str, Any]) -> str:
    return str(turn.get("role") or turn.get("from") or "").lower()


def _last_turn(value: object, name: str, roles: set[str]) -> str:
    """Return the model's last turn of a chat, or the last turn of the user before it."""
    turns = value
    if isinstance(turns, str):
        turns = _parsed(turns)
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise FieldError(f"field '{name}' is not a list of messages")
    last = max((at for at, turn in enumerate(turns) if _role(turn) in _MODELS), default=None)
    if roles is _MODELS and last is None:
        raise FieldError(f"field '{name}' holds no turn of the model (role 'assistant')")
    before = turns if last is None or roles is _MODELS else turns[:last]
    chosen = [turn for turn in before if _role(turn) in roles]
    if not chosen:
        return ""
    turn = chosen[-1]
    return clean(_content(turn.get("content", turn.get("value", turn.get("text"))), name))


def _content(value: object, name: str) -> str:
    """Return a message's content: text, null (as a tool call has), or a list of parts whose text is joined."""
    if _missing(value):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = [part if isinstance(part, str) else part.get("text") for part in value if isinstance(part, str | dict)]
        return "\n".join(part for part in parts if isinstance(part, str))
    raise FieldError(f"field '{name}' has content that is {kind_of(value)}, not text")


def _parsed(text: str) -> object:
    """Parse a chat that a table holds as JSON text."""
    try:
        return parse_json(text)
    except ValueError:
        return None
