"""The package in environments of its own: a build machine without PyTorch, and one plain install."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dimtool import verbs

ROOT = Path(__file__).resolve().parents[2]
Make = Callable[[Iterable[str]], Path]


def _lines(text: str) -> list[str]:
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]


def declared() -> list[str]:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    return _lines(settings["options"]["install_requires"])


def for_building() -> list[str]:
    return _lines((ROOT / "requirements-build.txt").read_text())


def _names(requirements: Iterable[str]) -> set[str]:
    return {re.split(r"[ <>=\[]", each)[0].lower() for each in requirements}


# ---- what is declared --------------------------------------------------------------------------------------


def imported(*places: str) -> set[str]:
    """The distributions that files import, wherever in them, in lower case."""
    known, found = packages_distributions(), set()
    files = [path for place in places for path in ROOT.glob(place)]
    for path in (path for path in files if "build" not in path.relative_to(ROOT).parts[:1]):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {name.partition(".")[0] for name in names}
    others = found - sys.stdlib_module_names - {"dimtool", ""}
    return {known[name][0].lower() for name in others if name in known}


OF_EXTRAS = {"dask", "distributed", "ray", "s3fs", "gcsfs", "adlfs", "aiohttp"}  # clusters, object stores
DATA = [f"{wing}/**/*.py" for wing in ("composer", "pages", "manifests", "storage")]
DATA += [path.name for path in ROOT.glob("*.py") if path.name != "__init__.py"]  # names torch, for types


def test_the_data_half_imports_what_a_build_machine_has() -> None:
    assert imported(*DATA) - OF_EXTRAS == _names(for_building())


def test_the_whole_imports_what_an_install_brings() -> None:
    optional = {"triton", "numba"}  # PyTorch's and pymatting's own
    by_name = {"onnx", "onnxruntime", "onnxscript", "pymatting"}  # where they are used, see `optional`
    everything = imported("model/**/*.py", *DATA)
    assert everything - OF_EXTRAS - optional - by_name == _names(declared()) - by_name


def test_a_build_machine_s_requirements_are_the_package_s_less_the_models() -> None:
    assert set(for_building()) < set(declared())
    assert _names(declared()) - _names(for_building()) == set(verbs.FOR_MODELS)


def test_every_requirement_has_a_version_that_is_tested() -> None:
    pinned = _names((ROOT / "constraints.txt").read_text().split())
    assert _names(declared()) <= {each.replace("_", "-") for each in pinned} | pinned


# ---- a build machine ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def build_machine(environment: Make) -> Path:
    return environment(for_building())


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two foregrounds over one background each."""
    root, rng = tmp_path_factory.mktemp("set"), np.random.default_rng(5)
    for name in ("fg", "alpha", "bg"):
        (root / name).mkdir()
    for i in range(2):
        shape = (40 + i, 50)
        Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(root / f"fg/{i}.png")
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(root / f"alpha/{i}.png")
        Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(root / f"bg/{i}.png")
    (root / "train_fg.txt").write_text("0.png\n1.png")
    return root


BUILDING = """
import importlib.util, os, sys
from dimtool.cli import run
assert importlib.util.find_spec("torch") is None
os.chdir(sys.argv[1])
for words in (
    "build --fg-list train_fg.txt --per-fg 1 --jobs 1",
    "verify --report report --jobs 1",
    "inspect shards/train --sheet sheet.png",
    "export shards/train exported --jobs 1",
    "trimap alpha --out trimaps",
    "make-lists --per-fg 1 --out lists",
    "config train",
    "predict --help",
):
    assert run(words.split()) == 0, words
print(dimtool.__file__ if (dimtool := sys.modules["dimtool"]) else "")
for words in ("train", "evaluate --pred-dir alpha --shards shards/train", "export-onnx --checkpoint alpha"):
    print(words.split()[0], run(words.split()))
"""


def test_the_data_half_works_where_there_is_no_pytorch(build_machine: Path, small_set: Path) -> None:
    done = subprocess.run(
        [build_machine / "python", "-I", "-c", BUILDING, small_set],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(build_machine.parent) in done.stdout.splitlines()[-4]
    assert done.stdout.splitlines()[-3:] == ["train 2", "evaluate 2", "export-onnx 2"]
    what = "pip install accelerate onnx onnxruntime onnxscript pymatting safetensors tensorboard torch"
    said = [line for line in done.stderr.splitlines() if line.startswith("dimtool: ")]
    assert said == [f"dimtool: this command needs what is not installed here: {what}"] * 3
    assert (small_set / "report/index.html").is_file()
    assert len(list((small_set / "trimaps").iterdir())) == 2


# ---- one install -------------------------------------------------------------------------------------------

EVERYTHING = """
import importlib, pkgutil, sys
import dimtool
for each in pkgutil.walk_packages(dimtool.__path__, "dimtool."):
    if each.name.rpartition(".")[2] not in ("__main__", "kernels", "dask", "ray"):  # run, Triton, extras
        importlib.import_module(each.name)
for name in ("jinja2", "matplotlib", "onnx", "onnxruntime", "onnxscript"):
    importlib.import_module(name)
assert importlib.util.find_spec("pymatting")
print(dimtool.__file__)
"""


def test_one_install_has_what_every_command_needs(environment: Make) -> None:
    there = environment(declared())
    done = subprocess.run(
        [there / "python", "-I", "-c", EVERYTHING], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(there.parent))
    done = subprocess.run([there / "dimtool", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("dimtool, version ")
    pip = [sys.executable, "-m", "pip", "--python", there / "python", "check"]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.stdout == "No broken requirements found.\n"
