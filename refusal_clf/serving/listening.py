"""The socket, and the server's life on it."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from refusal_clf.records import InputError

_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; before the model is loaded, so that a port in use is told at once.

    Raises
    ------
    InputError
        If the address cannot be taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        taken = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise InputError(f"cannot listen on {host}:{port} ({error.strerror or error})") from error
    return taken


def _end(*_: object) -> None:
    raise KeyboardInterrupt


def run(app: FastAPI, taken: socket.socket, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; what was taken until then is answered first."""
    host, port = taken.getsockname()[:2]
    say(f"serving on http://{f'[{host}]' if ':' in host else host}:{port}")
    config = uvicorn.Config(app, log_level="warning", access_log=False, backlog=_BACKLOG, server_header=False)
    # uvicorn raises the signal again when it has shut down: as an exception, so that the last word is said.
    signal.signal(signal.SIGTERM, _end)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[taken])
    say(f"ended: {app.state.metrics.answered} requests answered")
