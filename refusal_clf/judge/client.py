"""One request to an OpenAI-compatible endpoint, and what its failure means: try again, leave the row, or stop."""

from __future__ import annotations

import email.utils
import os
import re
import time
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import SplitResult, urlsplit

import openai

from refusal_clf.fields import clean
from refusal_clf.judge.store import Answer
from refusal_clf.records import InputError
from refusal_clf.report.escaping import printable

_SEED: Final = 0
_SHOWN: Final = 200
_MOST_TOKENS: Final = 10**9
_SECRET_LENGTH: Final = 8
"""Shorter keys are placeholders such as "none" and "EMPTY", which may be parts of honest words."""
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}
_OPENAI_KEY: Final = "OPENAI_API_KEY"
_PRIVATE_HEADERS: Final = ("OpenAI-Organization", "OpenAI-Project")
_KEY_LIKE: Final = re.compile(r"\b(?:sk|pk|key)-[\w*.-]{6,}|\bBearer\s+\S+", re.IGNORECASE)
_UNSUPPORTED: Final = re.compile(
    r"support|unknown|unrecogni|unexpected|not permitted|extra|only the default", re.IGNORECASE
)


class TransientError(Exception):
    """A request that may succeed if it is repeated.

    Attributes
    ----------
    reason
        In one line, without the key.
    wait
        Seconds that the endpoint asks to wait; None if it does not say.
    billed
        Whether it may be billed all the same: the request was taken, and its answer did not arrive whole.
    unreachable
        Whether nothing listens at the address.
    """

    def __init__(
        self, reason: str, *, wait: float | None = None, billed: bool = False, unreachable: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason, self.wait, self.billed, self.unreachable = reason, wait, billed, unreachable


class RefusedError(Exception):
    """A request that the endpoint will never answer, such as one that a content filter stops. It costs nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a judge is reached. The key is never shown.

    Parameters
    ----------
    model
        The judge's name at the endpoint.
    base_url
        Such as `https://api.openai.com/v1`; it may not hold a user name or a password.
    timeout
        Seconds that an answer may take.
    max_tokens
        The longest answer, in tokens; reasoning models need more.
    temperature
        0 for the likeliest answer.
    """

    model: str
    base_url: str
    key: str = field(default="", repr=False)
    timeout: float = 120.0
    max_tokens: int = 1024
    temperature: float = 0.0

    def __post_init__(self) -> None:
        _address(self.base_url)

    @property
    def shown(self) -> str:
        """The address without its query, which may hold a secret."""
        url = urlsplit(self.base_url)
        return f"{url.scheme}://{url.netloc}{url.path}"


def key_from(variable: str | None, base_url: str, prefix: str = "--") -> str:
    """Return the key that an environment variable holds; a server on this machine needs none.

    Parameters
    ----------
    variable
        None for OPENAI_API_KEY, which only OpenAI and Azure are sent unasked.
    prefix
        What the names of the options begin with, for the message.

    Raises
    ------
    InputError
        If it is missing, or cannot be sent. The message never holds the key.
    """
    url = _address(base_url)
    local = url.hostname in _LOOPBACK
    if variable is None:
        if local:
            return ""
        if not _is_openai(base_url):
            raise InputError(f"name the environment variable with the key for {url.hostname} with {prefix}api-key-env")
        variable = _OPENAI_KEY
    key = os.environ.get(variable, "").strip()
    if not key:
        if local:
            return ""
        raise InputError(f"no key: set the environment variable {variable}, or name another with {prefix}api-key-env")
    if url.scheme == "http" and not local:
        raise InputError(f"the key would be sent unencrypted: give {prefix}base-url as https://")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise InputError(f"the key in {variable} holds a space or a character that no key holds")
    return key


def _address(base_url: str) -> SplitResult:
    """Return the parts of an address that is one; a message never holds it, for it may hold a secret."""
    try:
        url = urlsplit(base_url)
        valid = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise InputError("--base-url is no http(s) address, such as http://localhost:8000/v1")
    if url.username or url.password:
        raise InputError("--base-url holds a password; put the key into an environment variable (--api-key-env)")
    return url


def _is_openai(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    return host == "api.openai.com" or host.endswith(".openai.azure.com")


class JudgeClient:
    """An endpoint's chat and batch interfaces.

    The endpoint's temperature and a seed are sent. What an endpoint says it does not support is left out from then on,
    and `max_tokens` is called `max_completion_tokens` where it wants that.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        # The library takes these from the environment; they are no business of others.
        private = {} if _is_openai(endpoint.base_url) else dict.fromkeys(_PRIVATE_HEADERS, openai.Omit())
        options: dict[str, Any] = {"timeout": endpoint.timeout, "max_retries": 0, "default_headers": private}
        self.api: Any = openai.AsyncOpenAI(base_url=endpoint.base_url, api_key=endpoint.key or "none", **options)
        self._options: dict[str, Any] = {
            "temperature": endpoint.temperature,
            "seed": _SEED,
            "max_tokens": endpoint.max_tokens,
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.api.close()

    def body(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """Return the request for a chat."""
        return {"model": self.endpoint.model, "messages": messages, **self._options}

    async def ask(self, messages: list[dict[str, str]]) -> Answer:
        """Send one chat and return its answer.

        Raises
        ------
        TransientError, RefusedError
            If there is no answer, now or ever.
        InputError
            If there never will be one to anything: wrong key, model or address.
        """
        started = time.monotonic()
        body = self.body(messages)
        try:
            reply = await self.api.chat.completions.create(**body)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            # Another request may have changed the options while this one was on its way.
            if self._adapt(error) or self.body(messages) != body:
                return await self.ask(messages)
            raise RefusedError(self._said(error)) from None
        # A body that is no JSON is a plain ValueError there.
        except (openai.OpenAIError, ValueError) as error:
            # The cause is cut off everywhere: a traceback must not show what an endpoint said of a key.
            raise await self._failure(error) from None
        return self.answer(reply, time.monotonic() - started)

    def answer(self, reply: Any, seconds: float | None = None) -> Answer:  # noqa: ANN401
        """Return the answer that a reply holds: the library's object, or the same as JSON.

        Raises
        ------
        TransientError
            If it is no chat completion.
        """
        document = reply.model_dump() if hasattr(reply, "model_dump") else reply
        try:
            choice = document["choices"][0]
            message, usage = choice["message"], document.get("usage")
            text = message.get("content") or message.get("refusal") or ""
        except (TypeError, KeyError, IndexError, AttributeError):
            problem = document.get("error") if isinstance(document, dict) else document
            raise TransientError(self.redact(f"the reply is no chat completion: {problem}"), billed=True) from None
        usage = usage if isinstance(usage, dict) else {}
        return Answer(
            text=self.hide_key(clean(str(text))),
            finish_reason=self.redact(str(choice.get("finish_reason"))),
            model=self.redact(str(document.get("model"))),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
            seconds=seconds,
        )

    def hide_key(self, text: str) -> str:
        """Return text without the key."""
        key = self.endpoint.key
        return text.replace(key, "[key]") if len(key) >= _SECRET_LENGTH else text

    def redact(self, text: str) -> str:
        """Return text as one line without the key or anything that looks like one."""
        return printable(_KEY_LIKE.sub("[key]", self.hide_key(text)), limit=_SHOWN)

    async def explain(self, error: Exception, what: str) -> InputError:
        """Return the line for something that failed and has no second try."""
        status = getattr(error, "status_code", None)
        failure = self._said(error) if status == 404 else await self._failure(error)
        return failure if isinstance(failure, InputError) else InputError(f"{self.endpoint.shown}: {what} ({failure})")

    async def _failure(self, error: Exception) -> Exception:
        """Return what a failure means for the run."""
        if isinstance(error, openai.APIStatusError):
            return await self._status_failure(error)
        if isinstance(error, openai.APITimeoutError):
            reached = type(error.__cause__).__name__ != "ConnectTimeout"
            return TransientError(f"no answer in {self.endpoint.timeout:g} s", billed=reached)
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__
            unreachable = type(cause).__name__ == "ConnectError"
            reason = self.redact(str(cause) or type(cause).__name__)
            return TransientError(f"the connection failed: {reason}", billed=not unreachable, unreachable=unreachable)
        if isinstance(error, ValueError | openai.APIResponseValidationError):
            return TransientError("the reply is no valid JSON", billed=True)
        return InputError(f"{self.endpoint.shown}: {self.redact(str(error))}")

    async def _status_failure(self, error: Any) -> Exception:  # noqa: ANN401
        status, said, where = error.status_code, self._said(error), self.endpoint.shown
        if status in (401, 403):
            return InputError(f"{where} does not accept the key ({said})")
        if status == 404:
            return InputError(f"{where} has no model '{printable(self.endpoint.model)}' ({said}){await self._models()}")
        if status == 429 and error.code in ("insufficient_quota", "billing_hard_limit_reached"):
            return InputError(f"{where}: the account has no credit left ({said})")
        if status in (408, 409, 425, 429) or status >= 500:
            return TransientError(said, wait=_retry_after(error.response.headers))
        return RefusedError(said)

    async def _models(self) -> str:
        """Return what models there are, as the end of a message; an endpoint need not tell."""
        try:
            names = [str(model.id) async for model in self.api.models.list()]
        except Exception:
            return "; does the address end in /v1?"
        shown = ", ".join(printable(name) for name in names[:8])
        return f"; it has {shown}{' …' if len(names) > 8 else ''}" if names else ""

    def _said(self, error: Any) -> str:  # noqa: ANN401
        body = error.body if isinstance(error.body, dict) else {}
        return self.redact(f"HTTP {error.status_code}: {body.get('message') or body or error.message}")

    def _adapt(self, error: Any) -> bool:  # noqa: ANN401
        """Change the options that an endpoint does not take; say whether one was changed."""
        # FastAPI's servers tell what they do not take in a field of their own.
        said = f"{error.message} {error.body}"
        # The limit on an answer's length is renamed, never dropped: the budget counts on it.
        if "max_tokens" in self._options and "max_completion_tokens" in said:
            self._options["max_completion_tokens"] = self._options.pop("max_tokens")
            return True
        for name in ("temperature", "seed"):
            named = error.param == name or (not error.param and name in said)
            if name in self._options and named and _UNSUPPORTED.search(said):
                del self._options[name]
                return True
        return False


def _count(value: object) -> int | None:
    """Return a number of tokens; None for what is none, so that the call counts as the most that it can cost."""
    return value if isinstance(value, int) and 0 <= value <= _MOST_TOKENS else None


def _retry_after(headers: Any) -> float | None:  # noqa: ANN401
    """Return the seconds of `Retry-After` (a number or a date) or of the finer `retry-after-ms`."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(float(value) / unit, 0.0)
        except ValueError:
            date = email.utils.parsedate_tz(value)
            if date is not None:
                return max(email.utils.mktime_tz(date) - time.time(), 0.0)
    return None
