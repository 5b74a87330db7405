"""Every import of the package against the order of the wings in docs/architecture.md."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Each row stands on the rows below it. What shares a row does not know its neighbours.
ORDER = (
    ("__main__", "__init__"),
    ("cli", "metrics"),
    ("composer.commands", "model.commands"),
    ("model.evaluation", "model.tour"),
    ("model.training",),
    ("model.logbook",),
    ("model.runs",),
    ("model.processes", "model.updates"),
    ("model.crops", "model.serving"),
    ("model.inference",),
    ("model.network", "model.metrics"),
    ("composer.report", "composer.export"),
    ("composer.verification",),
    (
        "composer.building",
        "composer.inspection",
        "composer.trimaps",
        "composer.dataset",
        "composer.demo",
    ),
    ("composer.hosts",),
    ("composer.shards",),
    ("composer.pixels",),
    ("composer.sources", "composer.engines"),
    ("verbs",),
    ("optionfiles", "options", "pages", "progress"),
    ("storage",),
    ("files", "names", "manifests", "text"),
    ("arrays", "errors", "version"),
)
LEVEL = {wing: len(ORDER) - row for row, wings in enumerate(ORDER) for wing in wings}

HALVES = ("composer", "model")
HEAVY = ("torch", "accelerate", "safetensors")


def wing_of(module: str) -> str:
    """`dimtool.composer.shards.index` -> `composer.shards`; a half's own files are wings of one file."""
    parts = module.split(".")[1:] or ["__init__"]
    if parts[0] in HALVES:
        return ".".join(parts[:2])
    return parts[0]


def module_of(path: Path) -> str:
    parts = ("dimtool", *path.with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def imports_of(source: str, module: str, *, package: bool) -> Iterator[tuple[str, int]]:
    """What a file imports, wherever in it, as absolute names of modules or of what is in them."""
    here = module.split(".") if package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((f"{name}.{alias.name}", node.lineno) for alias in node.names)


def sources() -> list[Path]:
    every = [ROOT / name for name in ("cli.py", "__main__.py", "__init__.py")]
    every += [path for path in ROOT.glob("*.py") if path not in every]
    for folder in ("composer", "model", "manifests", "pages", "storage"):
        every += sorted((ROOT / folder).rglob("*.py"))
    return [path.relative_to(ROOT) for path in every]


def faults(path: Path, source: str) -> list[str]:
    """Imports of a file that run up, sideways, or from the composer into torch."""
    module = module_of(path)
    package = path.name == "__init__.py"
    own = wing_of(module)
    found = []
    for name, line in imports_of(source, module, package=package):
        if own.startswith("composer.") and name.split(".")[0] in HEAVY:
            found.append(f"{path}:{line} imports {name}: composer/ knows nothing of torch")
        if not name.startswith("dimtool."):
            continue
        other = wing_of(name)
        if other in HALVES or own in HALVES:
            continue
        if other not in LEVEL:
            other = wing_of(name.rpartition(".")[0])  # a name in the package itself
        if own in (other, "__init__"):
            continue
        if own.startswith("composer.") and other.startswith("model."):
            found.append(f"{path}:{line} imports {name}: composer/ never imports model/")
        elif LEVEL[other] >= LEVEL[own]:
            found.append(f"{path}:{line} imports {name}: {other} does not stand below {own}")
    return found


def test_every_file_is_in_a_wing_of_the_picture() -> None:
    picture = (ROOT / "docs" / "architecture.md").read_text()
    for path in sources():
        wing = wing_of(module_of(path))
        if wing not in HALVES:
            assert wing in LEVEL, f"{path} is in no wing: put it into one, or the wing into the picture"
            seen = wing.startswith("__") or wing.split(".")[-1] in picture
            assert seen, f"docs/architecture.md does not show {wing}"


def test_no_import_runs_up_or_sideways() -> None:
    found = [fault for path in sources() for fault in faults(path, (ROOT / path).read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source", "named"),
    [
        (
            "composer/shards/tiles.py",
            "from ..building.work import ShardJob",
            "dimtool.composer.building.work",
        ),
        ("composer/sources/images.py", "from ..engines import local", "dimtool.composer.engines.local"),
        ("composer/report/page.py", "from ...model.network.dim import Stage", "dimtool.model.network.dim"),
        ("composer/pixels/trimap.py", "def f():\n    import torch", "torch"),
        ("progress.py", "from .composer.export.pictures import Exported", "dimtool.composer.export"),
        ("model/network/dim.py", "from ..training import loop", "dimtool.model.training.loop"),
        ("text.py", "from . import cli", "dimtool.cli"),
    ],
)
def test_a_planted_import_is_named_with_both_files(path: str, source: str, named: str) -> None:
    (fault,) = faults(Path(path), source)
    assert path in fault
    assert named in fault


@pytest.mark.parametrize(
    "source", ["from ..shards.reader import Shard", "import numpy", "from ...text import count"]
)
def test_what_stands_below_may_be_imported(source: str) -> None:
    assert faults(Path("composer/building/work.py"), source) == []


def too_long(paths: list[Path], root: Path) -> list[str]:
    """The files of more than 350 lines."""
    lengths = {path: len((root / path).read_text().splitlines()) for path in paths}
    return [f"{path} has {length} lines: divide it" for path, length in lengths.items() if length > 350]


def test_no_folder_holds_more_than_ten_modules_and_no_file_more_than_350_lines() -> None:
    every = sources()
    tests = (path.relative_to(ROOT) for path in sorted((ROOT / "tests").rglob("*.py")))
    assert too_long([*every, *tests], ROOT) == []
    for folder in {path.parent for path in every} - {Path()}:
        there = [path for path in every if path.parent == folder and path.name != "__init__.py"]
        assert len(there) <= 10, f"{folder} has {len(there)} modules: make a wing of some"


def test_a_file_of_351_lines_is_named(tmp_path: Path) -> None:
    for length in (350, 351):
        (tmp_path / f"{length}.py").write_text("x\n" * length)
    assert too_long([Path("350.py"), Path("351.py")], tmp_path) == ["351.py has 351 lines: divide it"]


@pytest.mark.parametrize(
    "statement", ["import dimtool", "from dimtool import cli", "from dimtool import progress"]
)
def test_starting_pulls_in_nothing_heavy(statement: str) -> None:
    heavy = ("torch", "h5py", "scipy", "numpy", "PIL", "joblib", "imagecodecs", "imagehash")
    code = f"import sys\n{statement}\nprint([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_data_half_runs_without_torch() -> None:
    """Importing every module of composer/ must not import torch."""
    modules = [module_of(path) for path in sources() if path.parts[0] == "composer"]
    code = f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stdout.strip() == "False"
