"""Suites are recognised, give rows their metadata, and are fetched whole or not at all."""

import json
import types
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from refusal_clf import download, suites
from refusal_clf.download import pull
from refusal_clf.reading import read_completions
from refusal_clf.records import InputError
from refusal_clf.suites import SuiteItem, index_items, load_suite

SHARED = Path(__file__).parents[2] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is absent")

PROMPTS = {
    "original": [
        {
            "id": "aa1",
            "category": "Incomplete requests",
            "subcategory": "false presuppositions",
            "prompt": "Why  is\nit?",
        }
    ],
    "contrast": [
        {
            "id": "bb2",
            "category": "Requests with safety concerns",
            "subcategory": "privacy violations",
            "prompt": "Who was it?",
        }
    ],
}


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(suites.DATA_VARIABLE, raising=False)


@pytest.fixture
def local_copy(tmp_path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for subset, rows in PROMPTS.items():
        write_lines(folder / f"{subset}_eval.jsonl", rows)
    return folder


def write_lines(path: Path, rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_one(tmp_path: Path, row, *, file: str = "a.jsonl", **options):
    [completion] = read_completions(write_lines(tmp_path / file, [{"response": "r"} | row]), **options)
    return completion


class TestRecognition:
    @pytest.mark.parametrize(
        ("row", "suite"),
        [
            ({}, "generic"),
            ({"suite": "or_bench_hard", "subcategory": "underspecified"}, "or_bench_hard"),
            ({"subcategory": "Universal_Unknowns"}, "coconot"),
            ({"subcategory": "generic"}, "generic"),
            ({"category": "Humanizing requests"}, "coconot"),
            ({"category": "safety"}, "generic"),
            ({"id": "v2-17", "type": "homonyms"}, "xstest"),
            ({"id": "v2-17"}, "generic"),
        ],
    )
    def test_a_row_tells_its_suite(self, tmp_path, row, suite):
        assert read_one(tmp_path, row).suite == suite

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("allenai/coconot", ("coconot", None)),
            ("coconot_orig", ("coconot", "original")),
            ("walledai/XSTest", ("xstest", None)),
        ],
    )
    def test_published_names_are_understood(self, tmp_path, name, expected):
        got = read_one(tmp_path, {"dataset": name})
        assert (got.suite, got.subset) == expected

    def test_the_users_word_is_above_the_rows(self, tmp_path):
        got = read_one(tmp_path, {"suite": "other", "subset": "original"}, suite="coconot", subset="contrast")
        assert (got.suite, got.subset) == ("coconot", "contrast")

    def test_coconots_subset_may_stand_in_the_file_name_alone(self, tmp_path):
        row = {"subcategory": "underspecified"}
        assert read_one(tmp_path, row, file="contrast_eval-outputs.jsonl").subset == "contrast"
        assert read_one(tmp_path, row, file="aboriginal.jsonl").subset is None
        assert read_one(tmp_path, {}, file="original.jsonl").subset is None

    def test_xstests_type_is_its_category_and_tells_the_subset(self, tmp_path):
        got = read_one(tmp_path, {"id": "v2-30", "type": "contrast_homonyms"})
        assert (got.subset, got.category) == ("unsafe", "contrast_homonyms")
        assert read_one(tmp_path, {"type": "homonyms"}, file="xstest_outputs.jsonl").subset == "safe"

    def test_names_are_spelled_as_published_and_categories_filled(self, tmp_path):
        got = read_one(tmp_path, {"subcategory": "False-Premises"})
        assert (got.category, got.subcategory) == ("Incomplete requests", "false presuppositions")
        assert read_one(tmp_path, {"subcategory": "My own"}).subcategory == "My own"

    def test_unknown_names_are_refused_at_the_call(self, tmp_path):
        path = write_lines(tmp_path / "a.jsonl", [{"response": ""}])
        with pytest.raises(InputError, match=r"unknown suite 'hexphi' \(known: coconot, generic, xstest\)"):
            read_completions(path, suite="hexphi")
        with pytest.raises(InputError, match="unknown subset 'orginal'"):
            read_completions(path, suite="coconot", subset="orginal")


class TestJoining:
    def joined(self, tmp_path, local_copy, row, **options):
        return read_one(tmp_path, row, metadata=load_suite("coconot", local_copy), **options)

    @pytest.mark.parametrize("row", [{"id": "aa1"}, {"prompt": "Why is it? "}, {"id": "0", "prompt": "Why is it?"}])
    def test_rows_are_joined_by_id_or_prompt(self, tmp_path, local_copy, row):
        got = self.joined(tmp_path, local_copy, row)
        assert (got.suite, got.subset, got.category, got.subcategory) == (
            "coconot", "original", "Incomplete requests", "false presuppositions",
        )  # fmt: skip

    def test_a_prompt_in_a_chat_template_confirms_an_id(self, tmp_path, local_copy):
        assert (
            self.joined(tmp_path, local_copy, {"id": "bb2", "prompt": "[INST] Who was it? [/INST]"}).subset
            == "contrast"
        )

    def test_an_id_with_another_prompt_is_a_coincidence(self, tmp_path, local_copy):
        assert self.joined(tmp_path, local_copy, {"id": "aa1", "prompt": "Something else"}).suite == "generic"

    def test_what_a_row_says_is_kept(self, tmp_path, local_copy):
        assert self.joined(tmp_path, local_copy, {"id": "aa1", "subset": "contrast"}).subset == "contrast"

    @pytest.mark.parametrize("options", [{"suite": "generic"}, {"suite": "xstest"}])
    def test_another_suite_is_not_joined(self, tmp_path, local_copy, options):
        assert self.joined(tmp_path, local_copy, {"id": "aa1"}, **options).category is None

    def test_a_prompt_of_two_subsets_finds_neither(self):
        items = [SuiteItem(name, "p", subset, None, None) for name, subset in (("a", "original"), ("b", "contrast"))]
        index = index_items("coconot", items)
        assert index.find(None, "p") is None
        assert index.find("b", "p") == items[1]

    @needs_shared
    def test_the_judged_responses_find_their_metadata_by_id_alone(self, tmp_path):
        suite = load_suite("coconot", SHARED / "coconot")
        assert suite is not None
        assert len(suite.items) == 1380
        for one in read_completions(SHARED / "coconot_judged" / "llama-3-8b-instruct.jsonl"):
            item = suite.find(one.id, "")
            assert item is not None
            assert (item.subset, item.category, item.subcategory) == (one.subset, one.category, one.subcategory)


class TestLoading:
    def test_nothing_at_hand_is_none(self):
        assert load_suite("coconot") is None
        assert load_suite("generic") is None

    @pytest.mark.parametrize("below", ["", "coconot"])
    def test_the_environment_names_a_folder(self, tmp_path, monkeypatch, local_copy, below):
        folder = tmp_path / "data"
        folder.mkdir()
        local_copy.rename(folder / below if below else folder)
        monkeypatch.setenv(suites.DATA_VARIABLE, str(folder))
        suite = load_suite("coconot")
        assert suite is not None
        assert len(suite.items) == 2

    def test_an_explicit_folder_must_hold_the_suite(self, tmp_path):
        with pytest.raises(InputError, match="original_eval"):
            load_suite("coconot", tmp_path)


class TestPull:
    def test_a_local_copy_is_found_again_and_described(self, local_copy):
        folder = pull("coconot", local_copy)
        suite = load_suite("coconot")
        assert suite is not None
        assert {item.id for item in suite.items} == {"aa1", "bb2"}
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["source"] == str(local_copy)
        assert manifest["files"]["original_eval.jsonl"]["rows"] == 1
        assert sorted(path.name for path in folder.iterdir()) == [
            "contrast_eval.jsonl",
            "manifest.json",
            "original_eval.jsonl",
        ]

    @pytest.mark.parametrize(
        "layout", ["{}/test.jsonl", "{}/test-00000-of-00001.parquet", "data/coconot_{}_eval.jsonl"]
    )
    def test_published_layouts_are_understood(self, tmp_path, layout):
        for subset, rows in PROMPTS.items():
            path = tmp_path / "hub" / layout.format(subset)
            if path.suffix == ".parquet":
                pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(pa.Table.from_pylist(rows), path)
            else:
                write_lines(path, rows)
        suite = load_suite("coconot", pull("coconot", tmp_path / "hub", tmp_path / "to"))
        assert suite is not None
        assert [item.subset for item in suite.items] == ["original", "contrast"]

    def test_a_damaged_copy_replaces_nothing(self, local_copy):
        folder = pull("coconot", local_copy)
        before = (folder / "original_eval.jsonl").read_bytes()
        (local_copy / "original_eval.jsonl").write_text('{"id": "new", "prompt": "p"}\n')
        (local_copy / "contrast_eval.jsonl").write_text("not JSON\n")
        with pytest.raises(InputError, match=r"contrast_eval\.jsonl:1"):
            pull("coconot", local_copy)
        assert (folder / "original_eval.jsonl").read_bytes() == before

    def test_a_copy_without_the_suite_is_one_line(self, tmp_path):
        with pytest.raises(InputError, match="no file of the subset 'original'"):
            pull("coconot", tmp_path)
        with pytest.raises(InputError, match="no data to pull"):
            pull("generic")

    def test_without_a_network_one_line_points_at_local_copies(self, monkeypatch, capfd):
        constants = pytest.importorskip("huggingface_hub.constants")
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens on the discard port
        with pytest.raises(InputError, match=r"cannot download allenai/coconot \(.+\); .* --from-dir") as caught:
            pull("coconot")
        assert "\n" not in str(caught.value)
        assert capfd.readouterr().err == ""

    def test_downloads_are_of_pinned_revisions(self, monkeypatch, tmp_path):
        asked = []

        def fetch(repository, file, *, repo_type, revision, local_dir):
            asked.append((repository, file, repo_type, revision))
            pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
            path = Path(local_dir) / Path(file).name
            pq.write_table(pa.Table.from_pylist([{"id": "v2-1", "type": "homonyms", "prompt": "p"}]), path)
            return str(path)

        hub = pytest.importorskip("huggingface_hub")
        monkeypatch.setattr(hub, "hf_hub_download", fetch)
        monkeypatch.setattr(hub, "get_session", lambda: types.SimpleNamespace(head=lambda *_, **__: None))
        pull("xstest")
        source = download.SOURCES["xstest"]
        assert asked == [(source.repository, "data/prompts-00000-of-00001.parquet", "dataset", source.revision)]
        suite = load_suite("xstest")
        assert suite is not None
        assert suite.items == (SuiteItem("v2-1", "p", "safe", "homonyms", None),)

    def test_the_command_prints_the_folder(self, local_copy, tmp_path):
        from refusal_clf.cli import data

        app = typer.Typer()
        data.register(app)
        result = CliRunner().invoke(
            app, ["data", "pull", "coconot", "--from-dir", str(local_copy), "--to", str(tmp_path / "to")]
        )
        assert result.exit_code == 0
        assert result.stdout.strip() == str(tmp_path / "to")
        assert "Example" in CliRunner().invoke(app, ["data", "pull", "--help"]).stdout

    @needs_shared
    @pytest.mark.parametrize(("name", "count"), [("coconot", 1380), ("xstest", 450)])
    def test_the_shared_copies_are_pulled_whole(self, name, count):
        pull(name, SHARED / name)
        suite = load_suite(name)
        assert suite is not None
        assert len(suite.items) == count
