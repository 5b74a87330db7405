"""A wheel has every module, template and style sheet of the tree, and works from where it is unpacked."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("setuptools", minversion="77")

ROOT = Path(__file__).resolve().parent.parent
WINGS = ("composer", "model", "manifests", "pages", "storage")
KINDS = (".py", ".j2", ".css", ".js", ".safetensors", ".toml", ".typed")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tree: a build leaves folders where it works."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for path in ["setup.cfg", "pyproject.toml", "README.md", "LICENSE", *expected()]:
        target = tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / path).read_bytes())
    code = f"from setuptools import build_meta; print(build_meta.build_wheel({str(out)!r}))"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tree, check=True, capture_output=True)
    (made,) = out.glob("dimtool-*.whl")
    return made


def expected() -> set[str]:
    """What belongs to the package, as the tree has it."""
    every = [path for path in ROOT.iterdir() if path.is_file() and path.name != "pyproject.toml"]
    every += [path for wing in WINGS for path in (ROOT / wing).rglob("*") if path.is_file()]
    return {str(path.relative_to(ROOT)) for path in every if path.suffix in KINDS or path.name == "py.typed"}


def test_nothing_is_left_out(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        there = {name.removeprefix("dimtool/") for name in archive.namelist() if name.startswith("dimtool/")}
    assert there == expected()


def test_nothing_generic_lands_in_site_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top.split("-")[0] for top in tops} == {"dimtool"}


def test_it_works_from_where_it_is_unpacked(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from pathlib import Path\n"
        "import dimtool.cli, dimtool.composer.report.page as one, dimtool.model.evaluation.page as other\n"
        "from dimtool.pages.environment import environment\n"
        "environment(Path(one.__file__)).get_template('report.html.j2')\n"
        "from dimtool.model.runs.recipes import recipe_file, recipe_names\n"
        "assert all(recipe_file(name).is_file() for name in recipe_names()) and 'fast' in recipe_names()\n"
        "environment(Path(other.__file__)).get_template('evaluation.html.j2')\n"
        "print(dimtool.__file__); sys.exit(dimtool.cli.run(['--help']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(tmp_path))
    assert "build-dataset" in done.stdout
