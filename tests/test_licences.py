"""benchmarks/licences.py --check: what fails a build, and what does not."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from cli_harness import REPOSITORY

LISTED = """
| package | licence |
| --- | --- |
| bread | BSD License |
| butter | MIT |
| jam | Apache-2.0 OR BSD-2-Clause |
"""


@pytest.fixture(scope="module")
def licences() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "benchmarks")
        yield importlib.import_module("licences")


@pytest.mark.parametrize(
    "row", ["| bread | BSD-3-Clause |", "| jam | BSD License, Apache Software License |", "| butter | MIT License |"]
)
def test_another_wording_of_the_same_kind_passes(licences: Any, row: str) -> None:
    assert licences.differences(LISTED, row) == []


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("| salt | MIT |", "lacks salt"),
        ("| butter | GPL-3.0-only |", "has butter under 'MIT'; installed is 'GPL-3.0-only'"),
        ("| jam | Apache-2.0 |", "has jam under"),
        ("| bread | not stated |", "has bread under"),
    ],
)
def test_a_package_that_is_new_or_of_another_kind_is_named(licences: Any, row: str, says: str) -> None:
    [line] = licences.differences(LISTED, row)
    assert says in line


def test_the_list_names_what_a_base_install_brings(licences: Any) -> None:
    listed = dict(licences.entries(licences.TARGET.read_text(encoding="utf-8")))
    assert {"numpy", "onnxruntime", "tokenizers", "safetensors", "typer", "rich"} <= set(listed)
    assert set(licences.licences("refusal-clf", "", set())) <= set(listed)
