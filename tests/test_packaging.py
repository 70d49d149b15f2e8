"""What a wheel holds, and that links in the documentation lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (".", "docs", "benchmarks", "data", "models/*")
PAGES = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"|srcset=\"([^\"]+)\"", text)
    paths = [one.split("#")[0] for found in targets for one in found if one and not re.match(r"[a-z]+:", one)]
    assert not [path for path in paths if path and not (page.parent / path).exists()]


def test_a_wheel_holds_the_package_and_the_model_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = {name for name in names if ".dist-info/" in name}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "refusal_clf").rglob("*.py")}
    shipped = (path for path in (ROOT / "models").rglob("*") if path.is_file())
    models = {f"refusal_clf/{path.relative_to(ROOT).as_posix()}" for path in shipped}
    samples = {"refusal_clf/samples/completions.jsonl"}
    assert sources | models | samples <= names
    others = names - info - sources - models - samples
    assert {Path(name).suffix for name in others} <= {".css", ".js", ".json", ".typed", ".yaml", ""}
    assert all(name.startswith("refusal_clf/") for name in others)
    assert any(name.endswith("licenses/LICENSE") for name in info)
