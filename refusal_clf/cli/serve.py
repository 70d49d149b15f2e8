"""`refusal-clf serve`: verdicts over HTTP, for reward models and gateways in other processes."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Annotated

import typer

from refusal_clf.cli.choices import Model, Threads, Tier
from refusal_clf.cli.extras import need
from refusal_clf.cli.progress import say
from refusal_clf.records import InputError


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("serve")(_serve)


def _serve(
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine, give --api-key-env.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The variable with the key that callers send as bearer key.")
    ] = None,
    max_batch: Annotated[int, typer.Option(min=1, metavar="N", help="Completions that are judged together.")] = 256,
    max_completions: Annotated[int, typer.Option(min=1, metavar="N", help="Completions of one request.")] = 256,
    max_waiting: Annotated[
        int, typer.Option(min=1, metavar="N", help="Completions that wait; further requests get status 503.")
    ] = 4096,
    max_bytes: Annotated[int, typer.Option(min=1024, metavar="N", help="Bytes of one request.")] = 8 * 2**20,
    model: Model = None,
    tier: Tier = "auto",
    threads: Threads = None,
) -> None:
    """Answer HTTP requests with verdicts, those of all connections judged together.

    Example: refusal-clf serve --port 8000

    POST /v1/verdicts takes {"completions": [{"prompt": ..., "response": ...}]}; GET /health, /metrics, /openapi.json.
    Ctrl-C or SIGTERM: requests that were taken are answered, then it ends.
    """
    need("serve", "fastapi", "uvicorn", "prometheus_client")
    key = _key(api_key_env)
    from refusal_clf.classifier import RefusalClassifier
    from refusal_clf.records import Completion
    from refusal_clf.serving.app import Limits, make_app
    from refusal_clf.serving.listening import listen, run

    taken = listen(host, port)
    clf = RefusalClassifier.load(model, threads=threads)
    clf.predict([Completion(prompt="ready", response="Ready.")], tier="full")  # loads everything before anyone waits
    app = make_app(clf, tier=tier, limits=Limits(max_bytes, max_completions, max_batch, max_waiting), key=key)
    if not key and not _is_loopback(host):
        say(f"! listening on {host} without a key: anyone who reaches it may use it (--api-key-env)")
    run(app, taken, say)


def _key(variable: str | None) -> str:
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise InputError(f"the environment variable {variable} holds no key")
    return key


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
