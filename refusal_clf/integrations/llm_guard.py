"""An output scanner for LLM Guard, in place of its `NoRefusal`: the same interface, with the prompt read too.

>>> from refusal_clf.integrations.llm_guard import NoRefusal
>>> scan_output([NoRefusal()], prompt, output)  # doctest: +SKIP

LLM Guard takes any object with its scanners' method, so that it is not imported, and reports it under its class's name.
"""

from __future__ import annotations

from pathlib import Path

from refusal_clf.classifier import RefusalClassifier, TierChoice
from refusal_clf.records import Completion, InputError


class NoRefusal:
    """Let an output pass unless it refuses, wholly or in part.

    Parameters
    ----------
    model
        A packaged model or a directory; default: the packaged one.
    threshold
        The probability of a refusal, in (0, 1), above which an output is invalid. Probabilities are calibrated, so that
        0.5, the default, is where a refusal becomes the likelier; LLM Guard's own scanner asks for 0.75.
    tier, threads
        As in `RefusalClassifier`.

    Raises
    ------
    InputError
        If the model is unusable or the threshold is no such fraction.
    """

    def __init__(
        self,
        *,
        model: str | Path | None = None,
        threshold: float = 0.5,
        tier: TierChoice = "auto",
        threads: int | None = None,
    ) -> None:
        if not 0 < threshold < 1:
            raise InputError(f"threshold is {threshold!r}, not between 0 and 1")
        self._threshold = threshold
        self._tier = tier
        self._classifier = RefusalClassifier.load(model, threads=threads)

    def scan(self, prompt: str, output: str) -> tuple[str, bool, float]:
        """Return the output as it is, whether it is valid, and its risk.

        The risk follows LLM Guard's scale, in [-1, 1]: the distance of the probability from the threshold, as a share
        of the room on that side of it. It is above 0 exactly for what is invalid, and -1 for an empty output.
        """
        [verdict] = self._classifier.predict([Completion(prompt, output)], tier=self._tier)
        if verdict.p_refusal is None:
            return output, True, -1.0
        distance = verdict.p_refusal - self._threshold
        room = 1 - self._threshold if distance > 0 else self._threshold
        return output, distance <= 0, distance / room
