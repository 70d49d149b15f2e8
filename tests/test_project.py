"""The lines that the project holds: what it imports, what it installs, how large it may grow."""

import ast
import re
import sys
import tomllib
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "refusal_clf"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TREES = {file.relative_to(PACKAGE).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in SOURCES}

EXECUTES_ON_LOAD = {"pickle", "cPickle", "_pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
OPENS_SOCKETS = (
    "socket",
    "http",
    "urllib.request",
    "ssl",
    "asyncio",
    "requests",
    "httpx",
    "aiohttp",
    "huggingface_hub",
)
NETWORK_PREFIXES = tuple(f"{module}." for module in OPENS_SOCKETS)
# `judge`, `data pull`, `generate`, `serve`, and the page of `review` on loopback.
MAY_OPEN_SOCKETS = ("judge/", "download.py", "generation/remote.py", "serving/", "review/server.py")
MAKES_LOADING_UNSAFE = {"allow_pickle": True, "trust_remote_code": True, "weights_only": False}


def imported(tree):
    """Every module that a file imports, anywhere in it, by its full dotted name."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            modules |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return modules


def roots(modules):
    return {module.split(".")[0] for module in modules}


def keywords(tree):
    """Every keyword argument with a literal value, in any call of a file."""
    return [
        (keyword.arg, keyword.value.value, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if isinstance(keyword.value, ast.Constant)
    ]


def test_base_install_is_six_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.match(r"[A-Za-z0-9_-]+", line).group() for line in project["dependencies"]]
    assert names == ["numpy", "onnxruntime", "tokenizers", "safetensors", "typer", "rich"]


def test_records_import_nothing_of_the_package():
    assert "refusal_clf" not in roots(imported(TREES["records.py"]))
    assert not [module for module in imported(TREES["records.py"]) if module.startswith(".")]


@pytest.mark.parametrize("name", TREES)
def test_only_what_trains_imports_torch(name):
    # Callback, local generation and estimator are made of them; those alone import them who run or fit a model.
    made_of_them = ("integrations/trainer.py", "integrations/scikit_learn.py", "generation/local.py")
    if not name.startswith("training/") and name not in made_of_them:
        assert not roots(imported(TREES[name])) & {"torch", "transformers", "sklearn"}


@pytest.mark.parametrize("package", ["sklearn", "duckdb", "pandas", "polars", "pyarrow", "datasets", "torch"])
def test_no_integration_hides_a_library_where_its_folder_is_on_the_path(package):
    # Who runs a file of the folder, as promptfoo does with an assertion's, has the folder before all others.
    assert PathFinder.find_spec(package, [str(ROOT / "refusal_clf" / "integrations")]) is None


@pytest.mark.parametrize("name", TREES)
def test_scoring_opens_no_socket(name):
    if not name.startswith(MAY_OPEN_SOCKETS):
        assert not [module for module in imported(TREES[name]) if f"{module}.".startswith(NETWORK_PREFIXES)]


@pytest.mark.parametrize("name", TREES)
def test_nothing_that_is_loaded_can_execute(name):
    assert not roots(imported(TREES[name])) & EXECUTES_ON_LOAD
    unsafe = [
        f"line {line}: {argument}={value}"
        for argument, value, line in keywords(TREES[name])
        if argument in MAKES_LOADING_UNSAFE and value is MAKES_LOADING_UNSAFE[argument]
    ]
    assert not unsafe


@pytest.mark.parametrize("name", [name for name in TREES if name.startswith("runtime/")])
def test_runtime_knows_no_suites(name):
    known = {"suites", "scoring", "gate", "calibration", "report", "cli", "training"}
    assert not {module.split(".")[1] for module in imported(TREES[name]) if module.startswith("refusal_clf.")} & known


@pytest.mark.parametrize("name", [name for name in TREES if name in ("scoring.py", "gate.py")])
def test_rates_know_no_models(name):
    known = {"refusal_clf.classifier", "refusal_clf.runtime", "refusal_clf.training"}
    assert not {
        module for module in imported(TREES[name]) if any(module == k or module.startswith(k + ".") for k in known)
    }


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_a_source_file_fits_in_one_sitting(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) < 400


def test_no_model_file_is_larger_than_30_megabytes():
    large = [file for file in (ROOT / "models").rglob("*") if file.is_file() and file.stat().st_size > 30_000_000]
    assert not large


def test_only_declared_packages_are_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    names = {re.match(r"[A-Za-z0-9_-]+", line).group().lower().replace("-", "_") for line in declared}
    names |= {"starlette", "pydantic"} if "fastapi" in names else set()  # what FastAPI is made of
    names |= {"sklearn"} if "scikit_learn" in names else set()
    standard = set(sys.stdlib_module_names)
    for name, tree in TREES.items():
        undeclared = roots(imported(tree)) - standard - names - {"refusal_clf", "__future__"}
        assert not undeclared, f"{name} imports {undeclared}"


def test_version_is_the_same_everywhere():
    version = re.search(r'__version__ = "(.+)"', (PACKAGE / "__init__.py").read_text(encoding="utf-8")).group(1)
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_makefile_lists_its_targets():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE).group(1).split())
    assert phony == set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))
