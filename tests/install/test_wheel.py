"""A wheel has every module, template and style sheet of the tree, and works from where it is unpacked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest


def test_nothing_is_left_out(wheel: Path, expected: set[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        there = {name.removeprefix("dimtool/") for name in archive.namelist() if name.startswith("dimtool/")}
    assert there == expected


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
        "from dimtool.model.serving.page import page\n"
        "assert '<canvas' in page('it')\n"
        "print(dimtool.__file__); sys.exit(dimtool.cli.run(['--help']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(tmp_path))
    assert "build-dataset" in done.stdout


def test_the_source_has_the_documents(distributions: dict[str, Path]) -> None:
    with tarfile.open(distributions["source"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "docs/format.md", "docs/package.md", "setup.cfg", "composer/trimaps.py"} <= names


def test_what_an_index_shows(wheel: Path) -> None:
    """It renders, without a link that leads nowhere there; nobody's name or address is in it."""
    renderer = pytest.importorskip("readme_renderer.markdown")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(name))
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert not {"Author", "Author-email", "Maintainer", "Maintainer-email", "Home-page"} & set(
        metadata.keys()
    )
    page = renderer.render(metadata.get_payload())
    assert page is not None
    assert "bit for bit as the official code does" in page
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert links
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
