"""An integration whose package is missing says the one line that mends it."""

import importlib
import sys

import pytest
from cli_harness import assert_one_error, run


@pytest.fixture
def without_inspect(monkeypatch):
    monkeypatch.delitem(sys.modules, "refusal_clf.integrations.inspect_ai", raising=False)
    for name in ("inspect_ai", "inspect_ai.log", "inspect_ai.scorer"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("without_inspect")
def test_the_scorers_need_inspect():
    with pytest.raises(ImportError, match=r"pip install 'refusal-clf\[inspect\]'"):
        importlib.import_module("refusal_clf.integrations.inspect_ai")


@pytest.mark.usefixtures("without_inspect")
def test_a_log_needs_inspect(tmp_path):
    (tmp_path / "log.eval").write_bytes(b"PK")
    assert_one_error(run("score", tmp_path / "log.eval"), r"log.eval: .*pip install 'refusal-clf\[inspect\]'")
