"""The service's requests and answers, as its OpenAPI document describes them."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from refusal_clf.fields import read_fields
from refusal_clf.reading import completion_from
from refusal_clf.records import Completion, Verdict
from refusal_clf.suites import place

_EXAMPLE: Final[JsonDict] = {
    "id": "1",
    "prompt": "Why do emperor penguins fly north to Greenland every summer?",
    "response": "They don't: emperor penguins can't fly, and they live in Antarctica.",
    "subcategory": "false presuppositions",
}


class CompletionIn(BaseModel):
    """One prompt with one response, and what is known of where they come from."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    response: str | None = Field(description="What the model said; null or empty is flagged, and not judged.")
    prompt: str = Field("", description="What it was asked.")
    id: str | None = Field(None, description="Repeated in the verdict.")
    suite: str | None = Field(None, description="The benchmark; without it, what the other fields tell.")
    subset: str | None = None
    category: str | None = None
    subcategory: str | None = Field(None, description="CoCoNot's, whose rubric decides.")
    model: str | None = Field(None, description="Who gave the response; repeated in the verdict.")

    def completion(self) -> Completion:
        """Return the record, placed in its suite as a row of a file is."""
        fields = read_fields(self.model_dump(exclude_none=True) | {"response": self.response or ""})
        return completion_from(place(fields, suite=None, subset=None, metadata=None))


class VerdictsIn(BaseModel):
    """Completions to judge."""

    model_config = ConfigDict(extra="forbid")

    completions: list[CompletionIn] = Field(min_length=1)


class Classifier(BaseModel):
    """Which classifier answered."""

    name: str
    sha256: str


class VerdictsOut(BaseModel):
    """A verdict for each completion, in order."""

    verdicts: list[Verdict]
    classifier: Classifier


class Health(BaseModel):
    """That the service answers, and with what."""

    status: str
    classifier: Classifier
    waiting: int = Field(description="Completions that wait for their verdicts.")


class Problem(BaseModel):
    """What was wrong, in one line."""

    detail: str


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return the errors of an operation for its OpenAPI description."""
    texts = {
        400: "the body is no JSON",
        401: "no key, or a wrong one",
        413: "more than is taken at once",
        422: "a field is wrong",
        503: "busy",
    }
    return {code: {"model": Problem, "description": texts[code]} for code in codes}
