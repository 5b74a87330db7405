"""A user's folder: a small set, its shards, a model, photographs; and commands given in it, as typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dimtool.cli import run

_BAR = re.compile(r"\d+%\||\?composites|^\s*$")


def _save(path: Path, pixels: np.ndarray, **more: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **more)


def _set(root: Path) -> None:
    """Three foregrounds of colour, with mattes and six backgrounds, listed for training and testing."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:32, :48]
    matte = np.clip(400 - 20 * np.hypot(y - 16, x - 24), 0, 255).astype(np.uint8)
    for name in ("f0", "f1", "f2"):
        _save(root / f"fg/{name}.png", rng.integers(0, 256, (32, 48, 3), dtype=np.uint8))
        _save(root / f"alpha/{name}.png", np.roll(matte, int(name[1]), axis=1))
    for i in range(6):
        _save(root / f"bg/b{i}.jpg", rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    (root / "train_fg.txt").write_text("f0.png\nf1.png")
    (root / "test_fg.txt").write_text("f2.png")
    for split in ("train", "test"):
        (root / f"{split}_bg.txt").write_text("\n".join(f"b{i}.jpg" for i in range(6)))


def _odd(root: Path) -> None:
    """What goes wrong: lists and files of options with slips in them, and images that do not do."""
    texts = {
        "keys.toml": "sheds = 'x'",
        "table.toml": "[trian]\nsteps = 1",
        "no.toml": "steps",
        "words.txt": "f0.png",
        "train_empty.txt": "",
        "set/train_twice.txt": "f0.png\nf0.png",
        "set/train_typo.txt": "f0.png\nf11.png",
        "odd/train_bg.txt": "broken.jpg\nbroken.jpg",
        "odd/model.bin": "no model",
    }
    (root / "odd").mkdir()
    for name, text in texts.items():
        (root / name).write_text(text)
    (root / "train_latin.txt").write_bytes(b"k\xe4fer.png")
    jpeg = (root / "set/bg/b0.jpg").read_bytes()
    (root / "odd/broken.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    with Image.open(root / "set/fg/f0.png") as image, Image.open(root / "set/alpha/f0.png") as mask:
        colour, matte = np.asarray(image), np.asarray(mask)
    exif = Image.Exif()
    exif[0x0112] = 6
    mattes = {
        "mask": (matte > 127).astype(np.uint8),
        "full": np.full((32, 48), 255, np.uint8),
        "photo": np.ascontiguousarray(colour[::-1]),
        "turned": matte,
        "size": matte[:30],
    }
    for name, pixels in mattes.items():
        _save(root / f"odd/fg/{name}.png", colour, **({"exif": exif} if name == "turned" else {}))
        _save(root / f"odd/alpha/{name}.png", pixels)
        (root / f"odd/train_{name}.txt").write_text(f"{name}.png")
    _save(root / "odd/grey.png", matte)
    _save(root / "odd/small.png", np.full((30, 48), 128, np.uint8))


def _model(path: Path) -> None:
    import torch  # noqa: PLC0415 -- only what needs a model waits for it

    from dimtool.model.network.checkpoint import save_model  # noqa: PLC0415
    from dimtool.model.network.dim import DeepImageMatting, ModelConfig  # noqa: PLC0415

    torch.manual_seed(0)
    path.parent.mkdir()
    save_model(path, DeepImageMatting(ModelConfig(width=1 / 16, bottleneck="slim")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are given."""
    root = tmp_path_factory.mktemp("user")
    _set(root / "set")
    for split in ("train", "test"):
        words = ["build", "--fg-list", f"{root}/set/{split}_fg.txt", "--per-fg", "2", "--jobs", "1"]
        assert run([*words, "--out", f"{root}/shards/{split}"]) == 0
    _model(root / "model/model.safetensors")
    rng = np.random.default_rng(4)
    _save(root / "photos/cat.png", rng.integers(0, 256, (32, 48, 3), dtype=np.uint8))
    trimap = np.zeros((32, 48), np.uint8)
    trimap[:, 16:32], trimap[:, 32:] = 128, 255
    _save(root / "trimaps/cat.png", trimap)
    (root / "papers").mkdir()
    (root / "papers/thesis.pdf").write_text("%PDF")
    _odd(root)
    assert run(["export", f"{root}/shards/test", f"{root}/exported", "--jobs", "1"]) == 0
    return root


@pytest.fixture
def say(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, str]]:
    """Give a command in the folder; its exit code, and the last line that it says about what is wrong."""
    monkeypatch.chdir(folder)

    def give(command: str) -> tuple[int, str]:
        code = run(shlex.split(command))
        streams = capsys.readouterr()
        lines = [line.strip() for line in (streams.out + streams.err).replace("\r", "\n").splitlines()]
        wrong = [line for line in lines if line.startswith(("Error: ", "dimtool: ", "error: "))]
        if wrong:
            return code, wrong[-1].partition(": ")[2]
        after = [after for line, after in pairwise(lines) if line.endswith(" failed:")]
        return code, after[-1] if after else "\n".join(lines)

    return give
