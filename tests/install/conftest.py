"""A wheel of the tree, and environments that hold the packages of a requirements file and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytest.importorskip("setuptools", minversion="77")

ROOT = Path(__file__).resolve().parents[2]
WINGS = ("composer", "model", "manifests", "pages", "storage")
KINDS = (".py", ".j2", ".css", ".js", ".toml", ".typed", ".safetensors")
BESIDE = (
    "setup.cfg",
    "pyproject.toml",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "docs/package.md",
    "docs/format.md",
)


def _expected() -> set[str]:
    every = [path for path in ROOT.iterdir() if path.is_file() and path.name != "pyproject.toml"]
    every += [path for wing in WINGS for path in (ROOT / wing).rglob("*") if path.is_file()]
    return {str(path.relative_to(ROOT)) for path in every if path.suffix in KINDS or path.name == "py.typed"}


@pytest.fixture(scope="session")
def expected() -> set[str]:
    """What belongs to the package, as the tree has it."""
    return _expected()


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Wheel and source distribution, built from a copy of the tree: a build leaves folders where it works."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for path in [*BESIDE, *_expected()]:
        target = tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / path).read_bytes())
    code = f"from setuptools import build_meta as b; b.build_wheel({str(out)!r}); b.build_sdist({str(out)!r})"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tree, check=True, capture_output=True)
    (wheel,), (source,) = out.glob("dimtool-*.whl"), out.glob("dimtool-*.tar.gz")
    return {"wheel": wheel, "source": source}


@pytest.fixture(scope="session")
def wheel(distributions: dict[str, Path]) -> Path:
    return distributions["wheel"]


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Iterable[str]], Path]:
    """Make a virtual environment with the wheel, what some requirements bring, and nothing else; its bin/."""

    def make(requirements: Iterable[str]) -> Path:
        root = tmp_path_factory.mktemp("environment")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True)
        (packages,) = (root / "lib").glob("python*/site-packages")
        for found in _closure(requirements):
            _link(found, packages)
        pip = [sys.executable, "-m", "pip", "--python", root / "bin/python", "--disable-pip-version-check"]
        words = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile", wheel]
        subprocess.run([*pip, *words], check=True, capture_output=True)
        return root / "bin"

    return make


def _closure(requirements: Iterable[str]) -> Iterator[Distribution]:
    """The installed distributions that the requirements bring, each once."""
    waiting, seen = [Requirement(each) for each in requirements], set()
    while waiting:
        wanted = waiting.pop()
        key = (wanted.name.lower(), *sorted(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        found = distribution(wanted.name)
        yield found
        for line in found.requires or ():
            needed = Requirement(line)
            chosen = [{"extra": extra} for extra in ("", *wanted.extras)]
            if needed.marker is None or any(needed.marker.evaluate(each) for each in chosen):
                waiting.append(needed)


def _link(found: Distribution, packages: Path) -> None:
    """Have an installed distribution in another environment, too."""
    for top in {path.parts[0] for path in found.files or () if path.parts[0] not in ("..", "__pycache__")}:
        target = Path(str(found.locate_file(top)))
        if target.exists() and not (packages / top).exists():
            (packages / top).symlink_to(target)
