"""`verify-composites --report`: the command, and the page as a browser shows it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import pytest

INDEX = "index.html"


class _Set(NamedTuple):
    sources: Path
    shards: Path


@pytest.fixture(scope="module")
def damaged_set(
    tmp_path_factory: pytest.TempPathFactory, image_set: Callable[..., Path], build: Callable[..., Any]
) -> _Set:
    """Shards of which one has a composite that cannot be decoded, and one wrong map."""
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    root = image_set(tmp_path_factory.mktemp("command") / "sources", side=150)
    shards = root.parent / "shards" / "train"
    assert build(root, shards).code == 0
    with h5py.File(shards / "0002-f2.h5", "r+") as file:
        file["composite"].id.write_direct_chunk((1, 0, 0, 0), b"no code stream")
        file["distance"][...] ^= 1
    return _Set(root, shards)


@pytest.fixture(scope="module")
def page(damaged_set: _Set, tmp_path_factory: pytest.TempPathFactory, command: Callable[..., Any]) -> Path:
    folder = tmp_path_factory.mktemp("page") / "a report, with spaces & 100 %"
    done = command("verify-composites", damaged_set.shards, "--report", folder, "--jobs", 1)
    assert done.code == 1
    assert done.out.endswith(f"report: {folder / INDEX}\n")
    return folder / INDEX


def test_the_command_writes_the_page_before_it_repairs(
    damaged_set: _Set, tmp_path: Path, command: Callable[..., Any]
) -> None:
    shards = shutil.copytree(damaged_set.shards, tmp_path / "shards")
    arguments = ["verify-composites", shards, "--report", tmp_path / "report", "--jobs", 1, "--json"]
    done = command(*arguments, "--repair")
    assert done.code == 0
    values = json.loads(done.out)
    assert values["report"] == str(tmp_path / "report" / INDEX)
    assert values["repair"]["rebuilt"] == [str(shards / "0002-f2.h5")]
    assert "cannot be decoded: the tile at row 0, column 0" in Path(values["report"]).read_text()


def test_a_folder_that_cannot_take_a_report_is_refused_at_once(
    damaged_set: _Set, command: Callable[..., Any], visible: Callable[[Path], dict[str, str]]
) -> None:
    before = visible(damaged_set.shards)
    done = command("verify-composites", damaged_set.shards, "--report", damaged_set.shards)
    assert (done.code, done.out) == (2, "")
    # Not even a bar: nothing was verified.
    assert done.err == (
        f"dimtool: {damaged_set.shards} holds files that are no report: "
        "name a new or an empty folder for the report\n"
    )
    assert visible(damaged_set.shards) == before


@pytest.mark.parametrize("library", ["jinja2", "matplotlib"])
def test_a_missing_library_is_one_clear_line(
    library: str, damaged_set: _Set, tmp_path: Path, run_python: Callable[..., str]
) -> None:
    script = f"""
import sys
sys.modules[{library!r}] = None
from dimtool.cli import run
sys.stderr = sys.stdout
print(run(["verify-composites", sys.argv[1], "--report", sys.argv[2]]))
"""
    said = run_python(script, damaged_set.shards, tmp_path / "report")
    assert said.splitlines() == [f"dimtool: a report needs {library}: pip install {library}", "2"]
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(("width", "columns"), [(1280, 4), (400, 2)])
def test_a_browser_shows_the_whole_page(browser: Any, page: Path, width: int, columns: int) -> None:
    light, dark = (browser.look(page, width, scheme) for scheme in ("light", "dark"))
    for found in (light, dark):
        assert found["console"] == []
        assert found["broken"] == []
        assert found["images"] > 20
        assert found["sideways"] == 0
        assert found["outside"] == []
        assert found["columns"] == columns
    assert light["paper"] != dark["paper"]
    assert light["plot"] != dark["plot"]


def test_the_browser_test_sees_what_it_looks_for(browser: Any, page: Path, tmp_path: Path) -> None:
    bad = shutil.copytree(page.parent, tmp_path / "bad") / INDEX
    gone = next((bad.parent / "images").glob("*.webp"))
    gone.unlink()
    wide = "<p style='width: 500px'>wide</p><script>missing()</script></main>"
    bad.write_text(bad.read_text(encoding="utf-8").replace("</main>", wide), encoding="utf-8")
    found = browser.look(bad, 400, "light")
    assert [Path(src).name for src in found["broken"]] == [gone.name]
    assert found["sideways"] > 0
    assert found["outside"]
    assert any("missing is not defined" in entry["message"] for entry in found["console"])
