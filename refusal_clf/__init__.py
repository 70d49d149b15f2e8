"""Tell whether a language model refused, and whether it should have.

>>> from refusal_clf import Completion, RefusalClassifier
>>> clf = RefusalClassifier.load()
>>> [verdict] = clf.predict([Completion(prompt="What is 2+2?", response="I can't help with that.")])
>>> verdict.refusal
'full_refusal'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refusal_clf.records import Completion, Label, Verdict

__version__ = "0.1.0"

__all__ = ["Completion", "Label", "RefusalClassifier", "Verdict", "__version__", "score"]

if TYPE_CHECKING:
    from refusal_clf.classifier import RefusalClassifier
    from refusal_clf.scoring import score


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Load what needs onnxruntime only when it is asked for: `--help` must stay fast."""
    if name == "RefusalClassifier":
        from refusal_clf.classifier import RefusalClassifier

        return RefusalClassifier
    if name == "score":
        from refusal_clf.scoring import score

        return score
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
