"""The one vocabulary of data: completions, verdicts, labels.

Frozen and typed; every other module turns one of these records into another. Nothing of the package is
imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Literal, get_args

VerdictName = Literal["noncompliance", "compliance", "neither"]
RefusalName = Literal["full_compliance", "partial_refusal", "full_refusal"]
Tier = Literal["fast", "full", "rule", "judge"]
"""Who answered: the lexical tier, the encoder blended with it, a rule (an empty response), or the judge of
`score --judge`; probabilities are the classifier's there too."""

VERDICTS: Final[tuple[VerdictName, ...]] = get_args(VerdictName)
REFUSAL_CLASSES: Final[tuple[RefusalName, ...]] = get_args(RefusalName)

Strategy = Literal["uniform", "stratified", "uncertain"]
"""How completions were drawn for a judge (`calibration.sampling`)."""
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)

FLAGS: Final[dict[str, str]] = {
    "empty": "no response text (null, empty, or nothing but reasoning); not counted in rates",
    "truncated_input": "longer than the model reads; head and tail were judged",
    "non_english": "mostly not English, where the model is less accurate",
    "code_only": "a block of code or a drawing with hardly any prose, where the model is less accurate",
    "gibberish": "symbols, words that cannot be spoken, or a few words over and over",
    "uncertain": "too close to call at the model's error rate, or of a kind that it was not made to read",
    "template_artifacts": "chat-template tokens, refusal tags or a reasoning block were removed",
    "hidden_text": "invisible characters that split or spell words, or HTML comments, were removed",
    "obfuscated": "disguised letters, base64, digits for letters or the like; undone where that is possible",
    "grader_injection": "text that speaks to a classifier or grader",
    "contradictory": "a sentence that refuses beside, or hidden in, a long text that does not",
    "generic_rubric": "unknown benchmark or subcategory; judged under the generic rubric",
}
"""Every flag a verdict can carry, with its meaning."""


class InputError(Exception):
    """Unusable input or arguments; its text is the one line that a user sees (exit status 2).

    Parameters
    ----------
    message
        What is wrong, in one line.
    file, line
        Where; both optional. `line` counts from 1.
    """

    def __init__(self, message: str, *, file: object = None, line: int | None = None) -> None:
        self.message = message
        self.file = None if file is None else str(file)
        self.line = line
        where = "" if self.file is None else self.file + (f":{line}" if line is not None else "") + ": "
        super().__init__(where + message)


@dataclass(frozen=True, slots=True)
class Completion:
    """One prompt with one model response, and what is known of where they come from."""

    prompt: str = ""
    response: str = ""
    id: str | None = None
    suite: str = "generic"
    subset: str | None = None
    category: str | None = None
    subcategory: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the classifier says of one completion: a line of `verdicts.jsonl`.

    `p_noncompliance` is the calibrated probability of `noncompliance` under the rubric of the subcategory and
    `p_refusal` that of a full or partial refusal, both in [0, 1]. An empty response is answered by a rule:
    verdict `neither`, and no refusal class or probability.
    """

    id: str | None
    suite: str
    subset: str | None
    category: str | None
    subcategory: str | None
    model: str | None
    verdict: VerdictName
    p_noncompliance: float | None
    refusal: RefusalName | None
    p_refusal: float | None
    tier: Tier
    flags: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        completion: Completion,
        verdict: VerdictName,
        p_noncompliance: float | None,
        refusal: RefusalName | None,
        p_refusal: float | None,
        tier: Tier,
        flags: tuple[str, ...] = (),
    ) -> Verdict:
        """Return the verdict on a completion, which is where its first six fields come from."""
        return cls(
            completion.id,
            completion.suite,
            completion.subset,
            completion.category,
            completion.subcategory,
            completion.model,
            verdict,
            p_noncompliance,
            refusal,
            p_refusal,
            tier,
            flags,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the record as it is written to `verdicts.jsonl`, fields in the documented order."""
        row = {field.name: getattr(self, field.name) for field in fields(self)}
        row["flags"] = list(self.flags)
        return row


@dataclass(frozen=True, slots=True)
class Sampled:
    """How a labelled completion came to be drawn (`calibration.sampling`): strategy, stratum, and with what chance."""

    strategy: str
    stratum: str
    inclusion_probability: float


@dataclass(frozen=True, slots=True)
class Label:
    """A judge's or a person's label of one completion; `verdict` or `refusal` or both are given.

    `source` is the labels file's name without its ending: it tells label sets apart where rows name no model.
    `sampled` is None for labels that do not say how they were drawn. `queue` is what `review` showed them from.
    """

    completion: Completion
    verdict: VerdictName | None
    refusal: RefusalName | None
    judge: str
    source: str = ""
    sampled: Sampled | None = None
    queue: str | None = None
