"""The review page on loopback: for whoever has its address, and for no other page in the same browser.

The address holds a random token. A request whose Host is not this server's is refused, which is what keeps out a page
that points a name of its own at 127.0.0.1 (DNS rebinding); labels are taken as `application/json` only and from no
other Origin, which another page cannot send without a permission that is never given (no CORS).
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from refusal_clf.formats import parse_json
from refusal_clf.judge.rubric import Rubric
from refusal_clf.records import InputError
from refusal_clf.review import page
from refusal_clf.review.items import ReviewItem
from refusal_clf.review.store import CHOICES, LabelField, LabelStore

LOOPBACK: Final = "127.0.0.1"
_MOST_BYTES: Final = 4_096
_SECONDS: Final = 30


class _RefusedError(Exception):
    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Review:
    """What the page may ask for: items, labels and undo, one request at a time."""

    def __init__(
        self,
        items: Sequence[ReviewItem],
        store: LabelStore,
        rubric: Rubric,
        fields: Sequence[LabelField],
        *,
        show: bool = False,
    ) -> None:
        self._items = items
        self._store = store
        self._rubric = rubric
        self.fields = tuple(fields)
        self.total = len(items)
        self._show = show
        self._revealed: set[int] = set()
        self._lock = threading.Lock()
        self._labelled = {place for place in range(len(items)) if self._complete(place)}

    def item(self, place: int) -> dict[str, Any]:
        """Return an item for the page; one past the last tells that all were seen."""
        with self._lock:
            return self._item(place)

    def first(self) -> dict[str, Any]:
        """Return the first item that is not labelled, or the end."""
        with self._lock:
            left = (place for place in range(self.total) if place not in self._labelled)
            return self._item(next(left, self.total))

    def label(self, place: int, field: LabelField, value: str) -> dict[str, Any]:
        """Label an item; `first` says whether this completes it for the first time."""
        with self._lock:
            before = place in self._labelled
            self._store.set(place, field, value, blind=not self._show and place not in self._revealed)
            self._count(place)
            return self._item(place) | {"first": not before and place in self._labelled}

    def undo(self) -> dict[str, Any]:
        """Take the last label back and return its item; without one, the first item that is not labelled."""
        with self._lock:
            place = self._store.undo()
            if place is not None:
                self._count(place)
                return self._item(place)
        return self.first()

    def _item(self, place: int) -> dict[str, Any]:
        state: dict[str, Any] = {"place": place, "total": self.total, "labelled": len(self._labelled)}
        if place >= self.total:
            return state
        revealed = self._show or place in self._labelled
        if revealed:
            self._revealed.add(place)
        described = page.describe(self._items[place], self._rubric, revealed=revealed)
        return state | described | {"labels": self._store.get(place)}

    def _complete(self, place: int) -> bool:
        labels = self._store.get(place)
        return all(labels[field] is not None for field in self.fields)

    def _count(self, place: int) -> None:
        (self._labelled.add if self._complete(place) else self._labelled.discard)(place)


def make_server(review: Review, port: int = 0) -> tuple[ThreadingHTTPServer, str]:
    """Return a server that listens on loopback, and the address of its page.

    Parameters
    ----------
    port
        0: a free one.

    Raises
    ------
    InputError
        If the port is taken.
    """
    token = secrets.token_urlsafe(24)

    class Handler(_Handler):
        pass

    Handler.review, Handler.token = review, token
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    except OSError as error:
        raise InputError(f"cannot listen on port {port} ({error.strerror})") from error
    server.daemon_threads = True
    return server, f"http://{LOOPBACK}:{server.server_address[1]}/{token}/"


class _Handler(BaseHTTPRequestHandler):
    review: Review
    token: str
    timeout = _SECONDS
    server_version, sys_version = "refusal-clf", ""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, *_: object) -> None:
        """Say nothing: the token is part of every address."""

    def _answer(self, make: Any) -> None:  # noqa: ANN401
        try:
            self._check()
            kind, body = make(self.path.removeprefix(f"/{self.token}/"))
            status = HTTPStatus.OK
        except _RefusedError as refused:
            status, kind, body = refused.status, "text/plain", str(refused)
        except InputError as error:  # the labels file cannot be written
            status, kind, body = HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", str(error)
        except OSError as error:
            status, kind, body = HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", error.strerror or "failed"
        data = body.encode("utf-8", "replace")
        self.send_response(status)
        for name, value in (
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(data))),
            ("Content-Security-Policy", page.POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _check(self) -> None:
        """Refuse whoever does not come from the page itself."""
        host = f"{LOOPBACK}:{self.server.server_address[1]}"  # type: ignore[index]
        if self.headers.get("Host") != host:
            raise _RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "wrong host")
        if self.headers.get("Origin") not in (None, f"http://{host}"):
            raise _RefusedError(HTTPStatus.FORBIDDEN, "wrong origin")
        given = self.path.split("/")[1] if self.path.startswith("/") else ""
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            raise _RefusedError(HTTPStatus.NOT_FOUND, "not found")

    def _get(self, path: str) -> tuple[str, str]:
        if path == "":
            return "text/html", page.frame(self.review.fields)
        if path == "review.css":
            return "text/css", page.style()
        if path == "review.js":
            return "text/javascript", page.script()
        if path == "item/first":
            return "application/json", json.dumps(self.review.first())
        number = path.removeprefix("item/")
        if path.startswith("item/") and number.isascii() and number.isdigit() and len(number) < 10:
            return "application/json", json.dumps(self.review.item(int(number)))
        raise _RefusedError(HTTPStatus.NOT_FOUND, "not found")

    def _post(self, path: str) -> tuple[str, str]:
        if self.headers.get("Content-Type") != "application/json":
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not JSON")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= _MOST_BYTES):
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "no length, or too long")
        try:
            asked = parse_json(self.rfile.read(int(length)).decode("utf-8"))
        except ValueError as error:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "not JSON") from error
        if path == "undo":
            return "application/json", json.dumps(self.review.undo())
        if path == "label" and isinstance(asked, dict):
            place, value = asked.get("place"), asked.get("value")
            field = next((name for name in self.review.fields if name == asked.get("field")), None)
            if field and value in CHOICES[field] and type(place) is int and 0 <= place < self.review.total:
                return "application/json", json.dumps(self.review.label(place, field, value))
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "no such label")
