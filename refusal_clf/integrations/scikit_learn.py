"""A scikit-learn classifier of your own labels, on top of this one: `fit` learns from tens of them.

>>> from refusal_clf.integrations.scikit_learn import RefusalEstimator
>>> estimator = RefusalEstimator().fit(responses, labels)  # doctest: +SKIP
>>> estimator.predict_proba(others)  # doctest: +SKIP

Labels may be the project's own, as another judge or another rubric gives them, or classes that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from refusal_clf.classifier import TierChoice
from refusal_clf.integrations.batches import BatchScorer, rows_of
from refusal_clf.records import REFUSAL_CLASSES, VERDICTS, Completion

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.linear_model import LogisticRegression
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d
except ImportError as error:
    raise ImportError("this needs scikit-learn: pip install 'refusal-clf[sklearn]'") from error

_LEAST: Final = 1e-6
"""The least probability whose logarithm is taken: beyond it the classifier's certainty says nothing."""
_NO_ANSWER: Final = np.repeat([1 / len(VERDICTS), 1 / len(REFUSAL_CLASSES)], [len(VERDICTS), len(REFUSAL_CLASSES)])
"""What an empty response counts as: everything is equally likely."""


class RefusalEstimator(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Multinomial logistic regression on the logarithms of the classifier's six probabilities.

    This is Dirichlet calibration (Kull et al. 2019, arXiv:1910.12656, section 3), with classes that need not be the
    classifier's. The network itself is not trained, so that a fit takes as long as scoring the responses does.

    Parameters
    ----------
    model
        A packaged model or a directory; default: the packaged one.
    tier, threads
        As in `RefusalClassifier`.
    C
        Inverse strength of the ridge penalty on the weights; smaller for fewer labels.
    class_weight
        As in `sklearn.linear_model.LogisticRegression`.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The labels that `fit` saw, sorted.
    head_ : LogisticRegression
        The regression; its features are log P(verdict), in the order of `VERDICTS`, and log P(refusal class), of
        `REFUSAL_CLASSES`.

    Notes
    -----
    X holds texts: responses, in one dimension; or pairs of a prompt and a response, an array of shape (n, 2); or a data
    frame (pandas, polars, Arrow) whose columns are found under the names of `fields`, subcategories and subsets among
    them. None and NaN are empty texts; an empty response counts as one that could be of any class.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        tier: TierChoice = "auto",
        threads: int | None = None,
        C: float = 0.3,  # noqa: N803 - scikit-learn's name for it
        class_weight: Mapping[Any, float] | str | None = None,
    ) -> None:
        self.model = model
        self.tier = tier
        self.threads = threads
        self.C = C
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RefusalEstimator:  # noqa: ANN401, N803
        """Learn labels.

        Parameters
        ----------
        X
            n texts, n >= 1.
        y : array-like of shape (n,)
            Their labels, of at least two classes.
        sample_weight : array-like of shape (n,), optional

        Raises
        ------
        ValueError
            If y is no such array, has another length than X, or X holds anything but text.
        InputError
            If the model is unusable.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        texts, width = self._read(X)
        if len(labels) != len(texts):
            raise ValueError(f"X has {len(texts)} samples, but y has {len(labels)}")
        self.head_ = self.head().fit(self._features(texts), labels, sample_weight=sample_weight)
        self.classes_ = self.head_.classes_
        self._width = width
        return self

    def head(self) -> LogisticRegression:
        """Return the regression, before it is fitted to `features`."""
        return LogisticRegression(C=self.C, class_weight=self.class_weight, max_iter=1000)

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: ANN401, N803
        """Return the likeliest class of each text, shape (n,)."""
        chosen = self.predict_proba(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[chosen]
        return labels

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: ANN401, N803
        """Return probabilities of shape (n, n_classes), in the order of `classes_`; a row adds up to 1.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X holds anything but text, or is an array of another width than that of `fit`.
        """
        check_is_fitted(self)
        texts, width = self._read(X)
        if width != self._width:
            raise ValueError(f"X is {_WIDTHS[width]}, but {type(self).__name__} was fitted on {_WIDTHS[self._width]}")
        probabilities: NDArray[np.float64] = self.head_.predict_proba(self._features(texts))
        return probabilities

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        """Say that X is text, in one dimension or two."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = True
        return tags

    def _read(self, X: Any) -> tuple[list[Completion], int | None]:  # noqa: ANN401, N803
        """Return the completions of X and its width: 1, 2, or None for a frame."""
        if hasattr(X, "columns") or isinstance(X, Mapping):  # frames of every kind; an array or a list has no columns
            scorer = BatchScorer.load(self.model, threads=self.threads)
            return _some([one for row in rows_of(X) if (one := scorer.read(row)) is not None]), None
        values = np.asarray(X, dtype=object)
        if values.ndim not in (1, 2) or (values.ndim == 2 and values.shape[1] not in (1, 2)):
            raise ValueError(f"X has the shape {values.shape}, neither (n,) of responses nor (n, 2) with their prompts")
        width = 1 if values.ndim == 1 else values.shape[1]
        cells = values.reshape(len(values), width).tolist()
        pairs = [[_text(value, number) for value in row] for number, row in enumerate(cells)]
        return _some([Completion("" if width == 1 else pair[0], pair[-1]) for pair in pairs]), width

    def _features(self, texts: list[Completion]) -> NDArray[np.float64]:
        classifier = BatchScorer.load(self.model, threads=self.threads).classifier
        return features(classifier.probabilities(texts, tier=self.tier))


def features(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what the regression reads, shape (n, 6), of what `RefusalClassifier.probabilities` returns."""
    found = np.where(np.isnan(probabilities), _NO_ANSWER, probabilities.astype(np.float64))
    logarithms: NDArray[np.float64] = np.log(np.maximum(found, _LEAST))
    return logarithms


_WIDTHS: Final = {None: "a frame", 1: "an array of responses", 2: "an array of prompts with responses"}


def _some(texts: list[Completion]) -> list[Completion]:
    if not texts:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required")
    return texts


def _text(value: object, number: int) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if not isinstance(value, str):
        raise ValueError(f"sample {number} of X is no text but {type(value).__name__}")
    return value
