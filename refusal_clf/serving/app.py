"""The application: its paths, and what each answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from refusal_clf import __version__
from refusal_clf.classifier import RefusalClassifier, TierChoice
from refusal_clf.fields import FieldError
from refusal_clf.report.escaping import printable
from refusal_clf.serving.batcher import Batcher, ClosedError, FullError
from refusal_clf.serving.gatekeeper import Gatekeeper
from refusal_clf.serving.metrics import VERDICTS_PATH, Metrics
from refusal_clf.serving.schema import Classifier, Health, VerdictsIn, VerdictsOut, problems


@dataclass(frozen=True, slots=True)
class Limits:
    """What is taken at once.

    Attributes
    ----------
    max_bytes, max_completions
        Of one request.
    max_batch
        Completions that are judged together.
    max_waiting
        Completions that wait; requests beyond are told to come again.
    """

    max_bytes: int = 8 * 2**20
    max_completions: int = 256
    max_batch: int = 256
    max_waiting: int = 4096


def make_app(
    clf: RefusalClassifier, *, tier: TierChoice = "auto", limits: Limits | None = None, key: str = ""
) -> FastAPI:
    """Return the ASGI application; its batcher ends with it.

    Parameters
    ----------
    key
        What callers must send as bearer key; empty for none.
    """
    taken = limits or Limits()
    named = Classifier(name=clf.name, sha256=clf.sha256)
    batcher = Batcher(
        lambda completions: clf.predict(completions, tier=tier),
        max_batch=taken.max_batch,
        max_waiting=taken.max_waiting,
        on_batch=lambda size: metrics.batch.observe(size),
    )
    metrics = Metrics(lambda: batcher.waiting)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(batcher.close)

    app = FastAPI(
        title="refusal-clf",
        version=__version__,
        description="Did the model comply, refuse, or do something between?",
        lifespan=lifespan,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.metrics = metrics
    app.add_middleware(Gatekeeper, key=key, max_bytes=taken.max_bytes, on_answer=metrics.count_answer)

    @app.post(VERDICTS_PATH, responses=problems(400, 401, 413, 422, 503))
    async def verdicts(body: VerdictsIn) -> VerdictsOut:
        """Judge completions; the verdicts come in their order."""
        began = time.perf_counter()
        if len(body.completions) > taken.max_completions:
            raise HTTPException(
                413, f"{len(body.completions):,} completions; at most {taken.max_completions:,} a request"
            )
        try:
            job = batcher.submit([given.completion() for given in body.completions])
        except FieldError as error:
            raise HTTPException(422, printable(str(error), limit=200)) from error
        except (FullError, ClosedError) as error:
            raise HTTPException(503, "too many completions are waiting: come again", {"Retry-After": "1"}) from error
        found = await asyncio.wrap_future(job)
        metrics.count(found)
        metrics.seconds.observe(time.perf_counter() - began)
        metrics.answered += 1
        return VerdictsOut(verdicts=list(found), classifier=named)

    @app.get("/health")
    async def health() -> Health:
        """Say that the service answers."""
        return Health(status="ok", classifier=named, waiting=batcher.waiting)

    @app.get("/metrics", include_in_schema=False)
    async def read_metrics() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        status = 400 if first["type"] == "json_invalid" else 422
        where = ".".join(str(part) for part in first["loc"][1:]) if status == 422 else ""
        more = f" (and {len(error.errors()) - 1:,} more)" if len(error.errors()) > 1 else ""
        said = "the body is no JSON" if status == 400 else f"{where or 'body'}: {first['msg']}{more}"
        return JSONResponse({"detail": printable(said, limit=300)}, status)

    return app
