"""pytest fixtures and a marker for refusals. Nothing but this file is imported until a test asks for one of them.

>>> def test_it_helps(assert_complies):
...     assert_complies("How do I kill a Python process?", my_model("How do I kill a Python process?"))

>>> @pytest.mark.refusal_suite("prompts.jsonl", max_overrefusal=0.05)
... def test_my_model(refusal_suite):
...     refusal_suite.check(my_model(prompt) for prompt in refusal_suite.prompts)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

from refusal_clf.records import Completion, InputError, Verdict

if TYPE_CHECKING:
    from refusal_clf.classifier import RefusalClassifier
    from refusal_clf.integrations.suite import Rate

MARKER: Final = "refusal_suite"
_SHOWN: Final = 5
_TEXT: Final = 400


class Assertion(Protocol):
    """What `assert_refuses` and `assert_complies` are."""

    def __call__(self, prompt: str, response: str, *, subcategory: str | None = None) -> None: ...  # noqa: D102


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(file, *, max_overrefusal=None, max_compliance=None, desired=None): hold the responses of a file to "
        "limits; with the fixture of the same name, the file gives the prompts and the test the responses",
    )


@pytest.fixture(scope="session")
def refusal_classifier() -> RefusalClassifier:
    """Return the packaged model; define a fixture of this name to take another one."""
    from refusal_clf.classifier import RefusalClassifier

    return RefusalClassifier.load()


@pytest.fixture(scope="session")
def assert_refuses(refusal_classifier: RefusalClassifier) -> Assertion:
    """Return a function that fails unless a response declines: a full or partial refusal.

    With a CoCoNot subcategory, noncompliance under its rubric is asked for instead.
    """
    return _assertion(refusal_classifier, refuses=True)


@pytest.fixture(scope="session")
def assert_complies(refusal_classifier: RefusalClassifier) -> Assertion:
    """Return a function that fails unless a response complies: full compliance.

    With a CoCoNot subcategory, compliance under its rubric is asked for instead.
    """
    return _assertion(refusal_classifier, refuses=False)


def _assertion(classifier: RefusalClassifier, *, refuses: bool) -> Assertion:
    def check(prompt: str, response: str, *, subcategory: str | None = None) -> None:
        __tracebackhide__ = True
        from refusal_clf.desired import complied, declined

        completion = Completion(prompt, response, subcategory=subcategory)
        if refuses:
            _expect("a refusal", declined, classifier, completion)
        else:
            _expect("compliance", complied, classifier, completion)

    return check


@pytest.fixture(scope="session")
def compliance_rate(refusal_classifier: RefusalClassifier) -> Callable[[Iterable[tuple[str, str] | Completion]], float]:
    """Return a function from prompts with responses to the share that complied, empty responses left out."""

    def rate(completions: Iterable[tuple[str, str] | Completion]) -> float:
        from refusal_clf.desired import complied

        rows = [row if isinstance(row, Completion) else Completion(*row) for row in completions]
        answered = [verdict for verdict in refusal_classifier.stream(rows) if "empty" not in verdict.flags]
        if not answered:
            raise ValueError("no response to take a rate of")
        return sum(map(complied, answered)) / len(answered)

    return rate


@dataclass(frozen=True, slots=True)
class RefusalSuite:
    """The file of a test's marker, with its limits."""

    completions: tuple[Completion, ...]
    classifier: RefusalClassifier
    max_overrefusal: float | None
    max_compliance: float | None
    desired: str | None

    @property
    def prompts(self) -> list[str]:
        """The prompts, in the order of the file."""
        return [completion.prompt for completion in self.completions]

    def check(self, responses: Iterable[str]) -> None:
        """Fail the test unless the responses, one for each prompt in order, keep the limits."""
        texts = list(responses)
        if len(texts) != len(self.completions):
            pytest.fail(f"{len(texts)} responses for {len(self.completions)} prompts", pytrace=False)
        self.hold([replace(row, response=text) for row, text in zip(self.completions, texts, strict=True)])

    def hold(self, rows: list[Completion]) -> None:
        """Fail the test unless completions keep the limits."""
        from refusal_clf.integrations.suite import suite_rates

        verdicts = self.classifier.predict(rows)
        rates = suite_rates(verdicts, self.desired)
        faults = []
        for name, rate, limit in (
            ("over-refusal", rates.overrefusal, self.max_overrefusal),
            ("compliance with what is to be declined", rates.compliance, self.max_compliance),
        ):
            if limit is None:
                continue
            if rate is None:
                faults.append(f"{name}: no response to take a rate of ({rates.n_empty} empty)")
            elif rate.value > limit:
                faults.append(_fault(name, rate, limit, rows, verdicts))
        if faults:
            pytest.fail("\n".join(faults), pytrace=False)


@pytest.fixture
def refusal_suite(request: pytest.FixtureRequest) -> RefusalSuite:
    """Return the suite of the test's marker `refusal_suite`."""
    marker = request.node.get_closest_marker(MARKER)
    if marker is None:
        raise pytest.UsageError(f"the fixture {MARKER} needs the marker @pytest.mark.{MARKER}(file, ...)")
    return _suite(request, need_response=False, **_arguments(*marker.args, **marker.kwargs))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:  # noqa: ANN401 - as pytest declares it
    """Check the responses in a marker's file before the test, unless the test makes responses itself."""
    marker = pyfuncitem.get_closest_marker(MARKER)
    if marker is not None and MARKER not in pyfuncitem.fixturenames:
        suite = _suite(pyfuncitem._request, need_response=True, **_arguments(*marker.args, **marker.kwargs))
        suite.hold(list(suite.completions))
    return (yield)


def _arguments(
    file: str | Path,
    *,
    max_overrefusal: float | None = None,
    max_compliance: float | None = None,
    desired: str | None = None,
) -> dict[str, Any]:
    """Read a marker's arguments as a function does, so that a misspelt one is an error."""
    if max_overrefusal is None and max_compliance is None:
        raise pytest.UsageError(f"the marker {MARKER} needs max_overrefusal or max_compliance: nothing else can fail")
    from refusal_clf.integrations.suite import check_desired, check_limit

    try:
        check_limit("max_overrefusal", max_overrefusal)
        check_limit("max_compliance", max_compliance)
        check_desired(desired)
    except InputError as error:
        raise pytest.UsageError(f"the marker {MARKER}: {error}") from error
    return {"file": Path(file), "limits": (max_overrefusal, max_compliance), "desired": desired}


def _suite(
    request: pytest.FixtureRequest,
    *,
    need_response: bool,
    file: Path,
    limits: tuple[float | None, float | None],
    desired: str | None,
) -> RefusalSuite:
    from refusal_clf.reading import read_completions, read_prompts

    path = request.path.parent / file
    try:
        rows = tuple(read_completions(path) if need_response else read_prompts(path))
    except InputError as error:
        pytest.fail(str(error), pytrace=False)
    return RefusalSuite(rows, request.getfixturevalue("refusal_classifier"), *limits, desired)


def _expect(what: str, met: Callable[[Verdict], bool], clf: RefusalClassifier, row: Completion) -> None:
    __tracebackhide__ = True
    [verdict] = clf.predict([row])
    if not met(verdict):
        pytest.fail(f"expected {what}, found {_found(verdict)}\n{_texts(row)}")


def _found(verdict: Verdict) -> str:
    if "empty" in verdict.flags:
        return "no response"
    from refusal_clf.desired import has_rubric

    if has_rubric(verdict.suite, verdict.subcategory):
        outcome = f"{verdict.verdict} (p_noncompliance {verdict.p_noncompliance:.2f}"
    else:
        outcome = f"{verdict.refusal} (p_refusal {verdict.p_refusal:.2f}"
    return ", ".join([outcome, f"tier {verdict.tier}", *verdict.flags]) + ")"


def _texts(row: Completion) -> str:
    from refusal_clf.report.escaping import printable

    return f"  prompt:   {printable(row.prompt, _TEXT)}\n  response: {printable(row.response, _TEXT)}"


def _fault(name: str, rate: Rate, limit: float, rows: list[Completion], verdicts: list[Verdict]) -> str:
    interval = f"[{100 * rate.ci_low:.1f}, {100 * rate.ci_high:.1f}]"
    lines = [f"{name} is {100 * rate.value:.1f} % {interval} of {rate.n}, at most {100 * limit:.1f} % are allowed"]
    for index in rate.items[:_SHOWN]:
        lines.append(f"- {rows[index].id or f'row {index + 1}'}: {_found(verdicts[index])}\n{_texts(rows[index])}")
    if len(rate.items) > _SHOWN:
        lines.append(f"- and {len(rate.items) - _SHOWN} more")
    return "\n".join(lines)
