"""Command-line manners: completion, configuration files, variables, folders and patterns, and the page of commands."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from cli_harness import REPOSITORY, ROWS, assert_one_error, needs_model, process, run, write_rows
from hypothesis import given
from hypothesis import strategies as st

from refusal_clf.cli import command
from refusal_clf.cli.configuration import NEVER, load
from refusal_clf.cli.inputs import expand
from refusal_clf.cli.variables import key_of, leaves, options
from refusal_clf.records import InputError

GROUP = command()
OPTIONS = [(path, option) for path, item in leaves(GROUP) for option in options(item)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a repository that is the working directory."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "rows.jsonl", ROWS)
    return tmp_path


def defaults(folder: Path) -> dict[str, Any]:
    configuration = load(command(), folder)
    assert configuration is not None
    return configuration.defaults


# --- completion ---------------------------------------------------------------------------------------------------


def complete(words: str) -> list[str]:
    env = {
        "_REFUSAL_CLF_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    outcome = process(env=env)
    assert (outcome.status, outcome.err) == (0, "")
    return outcome.out.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("refusal-clf cal", ["calibrate"]),
        ("refusal-clf score --tier ", ["auto", "fast", "full"]),
        ("refusal-clf check x --subset c", ["contrast"]),
        ("refusal-clf data pull ", ["coconot", "xstest"]),
    ],
)
def test_commands_and_choices_are_completed(words: str, expected: list[str]) -> None:
    assert complete(words) == expected


@needs_model
def test_packaged_models_are_completed() -> None:
    assert complete("refusal-clf score --model refusal-clf-m") == ["refusal-clf-minilm"]


def test_a_broken_configuration_does_not_break_completion(folder: Path) -> None:
    (folder / "refusal-clf.toml").write_text("[nonsense", encoding="utf-8")
    done = run("--show-completion")
    assert "nonsense" not in done.err
    assert done.status == 0 or "Shell" in done.err  # no shell may have started the tests
    assert run("score", "--help").status == 0


# --- variables ------------------------------------------------------------------------------------------------------


@needs_model
def test_a_flag_overrides_a_variable_and_a_variable_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tier(*arguments: str) -> str:
        run("score", "rows.jsonl", "--out", "o", "--overwrite", *arguments)
        return str(json.loads((folder / "o" / "run.json").read_text(encoding="utf-8"))["tier"])

    assert tier() == "auto"
    (folder / "refusal-clf.toml").write_text('tier = "full"\n', encoding="utf-8")
    assert tier() == "full"
    monkeypatch.setenv("REFUSAL_CLF_TIER", "fast")
    assert tier() == "fast"
    assert tier("--tier", "auto") == "auto"


def test_a_wrong_value_names_the_variable_only_if_it_came_from_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "env var" not in run("score", "rows.jsonl", "--threads", "0").err
    monkeypatch.setenv("REFUSAL_CLF_THREADS", "0")
    assert_one_error(run("score", "rows.jsonl"), "--threads.*env var: 'REFUSAL_CLF_THREADS'")


def test_no_two_different_options_have_one_variable() -> None:
    names = {}
    for path, option in OPTIONS:
        assert names.setdefault(option.envvar, key_of(option)) == key_of(option), path


def test_no_option_takes_a_secret() -> None:
    keys = {key_of(option) for _, option in OPTIONS}
    assert not {key for key in keys if key.rsplit("-", 1)[-1] in ("key", "token", "password", "secret")}


# --- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("tierr = 'fast'", r"unknown key 'tierr' \(did you mean 'tier'\?\)"),
        ("alpha = 0.1", "unknown key 'alpha'"),  # an option of `check` alone
        ("[scor]", r"unknown command 'scor' \(did you mean 'score'"),
        ("[score]\nalpha = 0.1", r"\[score\] unknown key 'alpha'"),
        ("[data]\nto = 'x'", r"\[data\] unknown command 'to'"),
        ("[judge]\nbase-url = 'https://elsewhere.example/v1'", r"\[judge\] 'base-url' is never read from a file"),
        ("[judge]\napi-key-env = 'HOME'", r"\[judge\] 'api-key-env' is never read from a file"),
        ("score = 1", "'score' is a command"),
        ("[score]\ndetails = 1", r"\[score\] 'details' takes true or false"),
        ("threads = true", "'threads' is true or false"),
        ("[score]\nout = ['a']", r"\[score\] 'out' is a list"),
        ("[score]\nout = 2020-01-01", r"\[score\] 'out' holds what is no text"),
        ("tier = 'slow'", r"--tier.*slow.*fast"),
        ("tier = ", "not TOML"),
        (f"tier = {'[' * 50_000}", "not TOML"),
    ],
)
def test_a_wrong_setting_names_file_and_key(text: str, pattern: str, folder: Path) -> None:
    (folder / "refusal-clf.toml").write_text(text, encoding="utf-8")
    assert_one_error(run("score", "rows.jsonl"), rf"refusal-clf\.toml: .*{pattern}")


def test_a_setting_for_all_reaches_the_commands_where_it_means_the_same(folder: Path) -> None:
    (folder / "refusal-clf.toml").write_text("model = 'mine'\n[plan]\nmodel = 'other'\n", encoding="utf-8")
    found = defaults(folder)
    assert (found["score"]["model"], found["plan"]["model"]) == ("mine", "other")
    assert "model" not in found["judge"]  # there it is the judge's name


def test_the_nearest_file_is_taken_up_to_the_root_of_the_repository(folder: Path) -> None:
    inner = folder / "a" / "b"
    inner.mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[tool.refusal-clf]\nthreads = 1\n", encoding="utf-8")
    (folder / "a" / "pyproject.toml").write_text("[project]\nname = 'refusal-clf'\n", encoding="utf-8")
    assert defaults(inner)["score"] == {"threads": 1}
    (folder / "a" / "refusal-clf.toml").write_text("threads = 2\n", encoding="utf-8")
    assert defaults(inner)["score"] == {"threads": 2}
    (inner / ".git").touch()
    assert load(command(), inner) is None


def test_paths_are_relative_to_the_file(folder: Path) -> None:
    (folder / "models" / "mine").mkdir(parents=True)
    (folder / "refusal-clf.toml").write_text(
        "model = 'models/mine'\n[check]\nlimits = 'limits.toml'\n[calibrate]\nlabels = 'labels.jsonl:gpt4'\n"
        "[data.pull]\nto = '/elsewhere'\n",
        encoding="utf-8",
    )
    found = defaults(folder)
    assert found["score"]["model"] == str(folder / "models" / "mine")
    assert found["check"]["limits"] == str(folder / "limits.toml")
    assert found["calibrate"]["labels"] == [str(folder / "labels.jsonl:gpt4")]
    assert found["data"]["pull"] == {"to": "/elsewhere"}


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.dictionaries(st.text(max_size=8), st.integers())))
def test_nothing_but_options_is_ever_taken(tmp_path_factory: pytest.TempPathFactory, table: dict[str, Any]) -> None:
    from refusal_clf.cli.configuration import _Reader

    try:
        found = _Reader(Path("refusal-clf.toml"), GROUP).defaults(table)
    except InputError:
        return
    known = {option.name for _, option in OPTIONS if key_of(option) not in NEVER}
    assert {name for values in found.values() for name in values} <= known | {"pull"}


@needs_model
def test_info_shows_the_file_and_the_variables_in_force(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(run("info", "--format", "json").out)["configuration"] is None
    (folder / "refusal-clf.toml").write_text("[score]\ndetails = true\n", encoding="utf-8")
    monkeypatch.setenv("REFUSAL_CLF_THREADS", "1")
    monkeypatch.setenv("REFUSAL_CLF_KEY", "sk-secret")
    facts = json.loads(run("info", "--format", "json").out)
    assert facts["configuration"] == {
        "file": str(folder / "refusal-clf.toml"),
        "settings": {"score": {"details": True}},
    }
    assert facts["environment"] == {"REFUSAL_CLF_THREADS": "1"}
    assert "score.details" in run("info").out


@needs_model
def test_a_setting_for_all_does_not_stop_a_command_that_has_no_use_for_it(folder: Path) -> None:
    assert run("score", "rows.jsonl", "--out", "now").status == 0
    (folder / "refusal-clf.toml").write_text("threads = 1\n", encoding="utf-8")
    assert run("plan", "now", "--half-width", "0.2").status == 0
    assert_one_error(run("plan", "now", "--half-width", "0.2", "--threads", "1"), "now: .*--threads has no meaning")


# --- folders, patterns, standard input ------------------------------------------------------------------------------


def test_a_folder_stands_for_its_completions_by_name(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.csv.gz", "notes.txt", ".hidden.jsonl", "_old.jsonl", "c.parquet"):
        (tmp_path / name).touch()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "d.jsonl").touch()
    assert [file.name for file in expand([tmp_path])] == ["a.csv.gz", "b.jsonl", "c.parquet"]
    assert [file.name for file in expand([tmp_path / "**" / "*.jsonl"])] == ["_old.jsonl", "b.jsonl", "d.jsonl"]


def test_what_exists_by_its_whole_name_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "a[1].jsonl").touch()
    (tmp_path / "a1.jsonl").touch()
    assert expand([tmp_path / "a[1].jsonl"]) == [tmp_path / "a[1].jsonl"]


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        (["runs"], "runs: no file of completions"),
        (["runs/*.jsonl"], r"runs/\*\.jsonl: no file matches"),
        (["rows.jsonl", "*.jsonl"], "rows.jsonl: is given twice"),
        (["results"], "results: is a results folder"),
    ],
)
def test_folders_and_patterns_without_completions_are_refused(arguments: list[str], pattern: str, folder: Path) -> None:
    (folder / "runs").mkdir()
    (folder / "results").mkdir()
    (folder / "results" / "verdicts.jsonl").touch()
    assert_one_error(run("score", *arguments), pattern)


@needs_model
def test_check_classify_and_plan_read_standard_input(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [row | {"subset": "original"} for row in ROWS])
    text = rows.read_text(encoding="utf-8")
    checked = process("check", "-", "--baseline", rows, "--min-pairs", "5", "--format", "json", stdin=text)
    assert (checked.status, checked.err) == (0, "")
    assert json.loads(checked.out)["passed"]
    lines = process("classify", "-", stdin=text).out
    assert lines == process("classify", rows).out
    assert len(lines.splitlines()) == len(ROWS)
    assert process("plan", "-", "--half-width", "0.2", stdin=text).status == 0


def test_standard_input_cannot_be_the_baseline(folder: Path) -> None:
    assert_one_error(run("check", "rows.jsonl", "--baseline", "-"), "standard input")
    assert_one_error(run("check", "-", "--baseline", "rows.jsonl", "--update"), "standard input, which is read once")
    assert_one_error(run("classify", "rows.jsonl", "--response", "x"), "--response is one response")


# --- the page of commands ---------------------------------------------------------------------------------------------


def test_the_page_of_commands_is_what_the_help_says() -> None:
    script = REPOSITORY / "docs" / "commands.py"
    if not script.exists():
        pytest.skip("docs/ is not part of this tree")
    spec = importlib.util.spec_from_file_location("commands_page", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = script.with_suffix(".md").read_text(encoding="utf-8")
    assert module.page() == written, "the help changed: python docs/commands.py"
