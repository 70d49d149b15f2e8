"""The estimator is one of scikit-learn's, as far as text can be, and learns labels of one's own."""

import subprocess
import sys

import numpy as np
import pytest
from cli_harness import needs_model

pytest.importorskip("sklearn", reason="needs the extra `sklearn`")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.utils.estimator_checks import estimator_checks_generator

from refusal_clf import Completion, RefusalClassifier
from refusal_clf.integrations.scikit_learn import RefusalEstimator
from refusal_clf.records import InputError

pytestmark = needs_model

QUESTIONS = ["How do I bake bread?", "Who won the match?", "What is a prime number?", "How do I mend a tyre?"]
REFUSALS = ["I'm sorry, but I can't help with that.", "I won't do this.", "I cannot assist with this request."]
ANSWERS = [
    "Certainly, here are the steps to follow.",
    "Take the first one and go on from there.",
    "It is quite simple.",
]
PAIRS = [(question, response) for question in QUESTIONS for response in (*REFUSALS, *ANSWERS)]
LABELS = ["says no" if response in REFUSALS else "answers" for _, response in PAIRS]

NO_FEATURES = "text has no numeric features: like the text vectorisers, it sets no n_features_in_"
ANY_NUMBER_IS_TEXT = "the adapter writes any number as text; what is no text is refused, as TestText shows"
NOTHING_TO_LEARN = "clusters of numbers, written as words, are nothing that a classifier of refusals can tell apart"
NOT_FOR_TEXT = {
    "check_n_features_in": NO_FEATURES,
    "check_n_features_in_after_fitting": NO_FEATURES,
    "check_dtype_object": ANY_NUMBER_IS_TEXT,
    "check_estimator_sparse_array": ANY_NUMBER_IS_TEXT,
    "check_estimator_sparse_matrix": ANY_NUMBER_IS_TEXT,
    "check_estimator_sparse_tag": ANY_NUMBER_IS_TEXT,
    "check_estimators_empty_data_messages": ANY_NUMBER_IS_TEXT,
    "check_fit1d": ANY_NUMBER_IS_TEXT,
    "check_fit2d_predict1d": ANY_NUMBER_IS_TEXT,
    "check_classifiers_train": NOTHING_TO_LEARN,
}
"""Checks that need numbers, each with the reason: they fail, and a test notices if one no longer does."""
NOT_RUN = {"check_estimators_pickle": "nothing in this project is unpickled"}


class NumbersAsText(RefusalEstimator):
    """Reads the numbers of scikit-learn's checks, which know no text, as words."""

    def _read(self, X):  # noqa: N803
        rows = [" ".join(map("{:.3g}".format, row)) if np.ndim(row) else str(row) for row in np.asarray(X)]
        return super()._read(rows)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True  # without it, no check is run
        tags.input_tags.one_d_array = tags.input_tags.string = False
        return tags


def checks():
    for estimator, check in estimator_checks_generator(NumbersAsText(tier="fast")):
        name = getattr(check, "func", check).__name__
        if name not in NOT_RUN:
            reason = NOT_FOR_TEXT.get(name)
            yield pytest.param(estimator, check, id=name, marks=[pytest.mark.xfail(reason=reason)] if reason else [])


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
@pytest.mark.filterwarnings("ignore")
def test_it_passes_scikit_learns_checks(estimator, check):
    check(estimator)


def test_without_scikit_learn_its_import_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None; import refusal_clf.integrations.scikit_learn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.endswith("ImportError: this needs scikit-learn: pip install 'refusal-clf[sklearn]'\n")


class TestText:
    def test_it_learns_labels_of_ones_own_from_tens_of_them(self):
        estimator = RefusalEstimator(tier="fast").fit(PAIRS, LABELS)
        assert estimator.classes_.tolist() == ["answers", "says no"]
        unseen = ["I'm afraid I can't do that.", "Sure: mix them and wait for an hour."]
        assert estimator.predict(unseen := [("Can you help me?", text) for text in unseen]).tolist() == [
            "says no",
            "answers",
        ]
        assert estimator.predict_proba(unseen).sum(axis=1) == pytest.approx([1, 1])

    def test_its_features_are_the_classifiers_probabilities(self, model_dir):
        rows = [Completion(*PAIRS[0]), Completion(*PAIRS[5]), Completion("Hello?", " ")]
        classifier = RefusalClassifier.load(model_dir)
        found = classifier.probabilities(rows)
        verdicts = classifier.predict(rows)
        assert found[:2, 0].round(4) == pytest.approx([verdict.p_noncompliance for verdict in verdicts[:2]])
        assert 1 - found[:2, 3] == pytest.approx([verdict.p_refusal for verdict in verdicts[:2]], abs=1e-4)
        assert found[:2, :3].sum(axis=1) == pytest.approx([1, 1])
        assert np.isnan(found[2]).all()
        assert classifier.probabilities([]).shape == (0, 6)

    def test_frames_of_every_kind_are_read_as_pairs_are(self):
        pd = pytest.importorskip("pandas")
        pl = pytest.importorskip("polars")
        pa = pytest.importorskip("pyarrow")
        expected = RefusalEstimator(tier="fast").fit(PAIRS, LABELS).predict_proba(PAIRS)
        columns = {
            name: list(values) for name, values in zip(("question", "response"), zip(*PAIRS, strict=True), strict=True)
        }
        for frame in (pd.DataFrame(columns), pl.DataFrame(columns), pa.table(columns), columns):
            estimator = RefusalEstimator(tier="fast").fit(frame, LABELS)
            assert estimator.predict_proba(frame) == pytest.approx(expected)

    def test_a_series_and_an_array_of_responses_are_read_as_a_list_is(self):
        pd = pytest.importorskip("pandas")
        responses = [response for _, response in PAIRS]
        expected = RefusalEstimator(tier="fast").fit(responses, LABELS).predict_proba(responses)
        for texts in (pd.Series(responses), np.array(responses), tuple(responses)):
            estimator = RefusalEstimator(tier="fast").fit(texts, np.array(LABELS))
            assert (estimator.predict_proba(texts) == expected).all()

    @pytest.mark.parametrize("missing", [None, float("nan"), "", " "])
    def test_an_empty_response_could_be_of_any_class(self, missing):
        estimator = RefusalEstimator(tier="fast").fit([*PAIRS, ("Hello?", "")], [*LABELS, "answers"])
        first, second = estimator.predict_proba([("Hello?", missing), ("Hello?", "")])
        assert (first == second).all()
        assert first.max() < 0.95

    def test_it_is_searched_and_validated_like_any_estimator(self):
        search = GridSearchCV(RefusalEstimator(tier="fast"), {"C": [0.1, 1.0]}, cv=2, error_score="raise")
        pairs = np.array(PAIRS, dtype=object)
        assert search.fit(pairs, LABELS).best_score_ > 0.9
        assert (cross_val_predict(clone(search.best_estimator_), pairs, LABELS, cv=3) == LABELS).mean() > 0.9

    @pytest.mark.parametrize(
        ("texts", "says"),
        [
            ([1, 2], "sample 0 of X is no text but int"),
            (["yes", b"no"], "sample 1 of X is no text but bytes"),
            ([], "Found array with 0 sample"),
            ("a text", r"X has the shape \(\)"),
            ([["a", "b", "c"]], r"X has the shape \(1, 3\)"),
        ],
    )
    def test_what_is_no_text_is_an_error(self, texts, says):
        with pytest.raises(ValueError, match=says):
            RefusalEstimator(tier="fast").fit(texts, ["a", "b"])

    def test_what_is_predicted_has_the_form_of_what_was_fitted(self):
        estimator = RefusalEstimator(tier="fast").fit(PAIRS, LABELS)
        with pytest.raises(ValueError, match=r"X is an array of responses, but .* an array of prompts with responses"):
            estimator.predict(["Yes."])
        with pytest.raises(NotFittedError):
            clone(estimator).predict(PAIRS)

    def test_a_model_that_is_not_there_is_named(self):
        with pytest.raises(InputError, match="no model 'nonesuch'"):
            RefusalEstimator("nonesuch").fit(PAIRS, LABELS)
