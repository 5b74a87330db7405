"""Checkpoints that cannot be finished, for want of room or of life: what was there is there, and works."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dimtool.model.network import checkpoint
from dimtool.model.network.checkpoint import (
    CheckpointError,
    checkpoints,
    load_checkpoint,
    load_model,
    save_checkpoint,
    save_model,
    take_snapshot,
)
from dimtool.model.network.dim import DeepImageMatting, ModelConfig
from dimtool.model.network.progress import Progress

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = ModelConfig(bottleneck="slim", width=1 / 64)
FIRST, SECOND = Progress(stage=1, step=1), Progress(stage=1, step=2)
PAGE = 4096
Resize = Callable[[int], None]
Pair = tuple[DeepImageMatting, torch.optim.Adam]


def begin(seed: int) -> Pair:
    """A model after a step, and its optimizer."""
    torch.manual_seed(seed)
    model = DeepImageMatting(CONFIG)
    model.set_stage(1)
    adam = torch.optim.Adam(model.encoder_decoder.parameters())
    model(torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)).coarse.mean().backward()
    adam.step()
    return model, adam


@pytest.fixture(scope="module")
def pairs(one_thread: None) -> tuple[Pair, Pair]:
    return begin(1), begin(2)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def pages(folder: Path) -> int:
    """Pages that a tmpfs takes for the files and folders under `folder`."""
    return sum(-(-path.stat().st_size // PAGE) for path in folder.rglob("*") if path.is_file())


def complaint(caught: pytest.ExceptionInfo[CheckpointError], path: Path) -> None:
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be written (")
    assert "No space left on device" in message
    assert message.endswith("make room and run the same command again")
    assert "\n" not in message


# ---- a disk that is full -----------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.2, 0.45, 0.8, 0.96, 0.99])
def test_a_checkpoint_that_does_not_fit(
    pairs: tuple[Pair, Pair], disk: tuple[Path, Resize], share: float
) -> None:
    folder, resize = disk
    resize(1 << 30)
    first = save_checkpoint(folder, take_snapshot(*pairs[0], FIRST))
    before, needed = digests(folder), pages(folder)
    resize(PAGE * (needed + int(share * needed)))
    with pytest.raises(CheckpointError) as caught:
        save_checkpoint(folder, take_snapshot(*pairs[1], SECOND))
    complaint(caught, folder / "stage1-step00000002")
    assert digests(folder) == before
    assert list(folder.iterdir()) == [first] == checkpoints(folder)
    resize(PAGE * (2 * needed + 10))
    second = save_checkpoint(folder, take_snapshot(*pairs[1], SECOND))
    assert checkpoints(folder) == [first, second]
    assert load_checkpoint(second, *begin(3)) == SECOND


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_model_that_does_not_fit(pairs: tuple[Pair, Pair], disk: tuple[Path, Resize], share: float) -> None:
    folder, resize = disk
    resize(1 << 30)
    path = folder / "best.safetensors"
    save_model(path, pairs[0][0])
    before, needed = digests(folder), pages(folder)
    resize(PAGE * (needed + int(share * needed)))
    with pytest.raises(CheckpointError) as caught:
        save_model(path, pairs[1][0])
    complaint(caught, path)
    assert digests(folder) == before
    assert load_model(path).config == CONFIG


@pytest.fixture
def half_written(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the nth file fail half-way, as on a full disk, for those who may not mount one."""
    whole, calls = checkpoint.write_tensors, []

    def at(number: int) -> None:
        def write_half(path: Path, tensors: Any, metadata: dict[str, str] | None = None) -> str:
            digest = whole(path, tensors, metadata)
            calls.append(path)
            if len(calls) == number:
                os.truncate(path, path.stat().st_size // 2)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return digest

        monkeypatch.setattr(checkpoint, "write_tensors", write_half)

    return at


@pytest.mark.parametrize("number", [1, 2, 3])
def test_any_file_of_it_that_cannot_be_written(
    pairs: tuple[Pair, Pair], tmp_path: Path, half_written: Callable[[int], None], number: int
) -> None:
    first = save_checkpoint(tmp_path, take_snapshot(*pairs[0], FIRST))
    before = digests(tmp_path)
    half_written(number)
    with pytest.raises(CheckpointError) as caught:
        save_checkpoint(tmp_path, take_snapshot(*pairs[1], SECOND))
    complaint(caught, tmp_path / "stage1-step00000002")
    assert digests(tmp_path) == before
    assert list(tmp_path.iterdir()) == [first]


def test_a_model_that_cannot_be_written(
    pairs: tuple[Pair, Pair], tmp_path: Path, half_written: Callable[[int], None]
) -> None:
    path = tmp_path / "best.safetensors"
    save_model(path, pairs[0][0])
    before = digests(tmp_path)
    half_written(1)
    with pytest.raises(CheckpointError) as caught:
        save_model(path, pairs[1][0])
    complaint(caught, path)
    assert digests(tmp_path) == before


# ---- a process that is killed ------------------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from dimtool.model.network import checkpoint
from dimtool.model.network.dim import DeepImageMatting, ModelConfig

root = Path(sys.argv[1])
model = DeepImageMatting(ModelConfig(bottleneck="slim", width=1 / 64))
adam = torch.optim.Adam(model.parameters())
for parameter in model.parameters():
    parameter.grad = torch.ones_like(parameter)
adam.step()
watched = ("open", "os.mkdir", "os.rename", "write_tensors")
write_tensors = checkpoint.write_tensors

def write_in_two_moments(*arguments):
    sys.audit("write_tensors")
    digest = write_tensors(*arguments)
    sys.audit("write_tensors")
    return digest

checkpoint.write_tensors = write_in_two_moments

def save(folder, step):
    progress = checkpoint.Progress(stage=1, step=step)
    checkpoint.save_checkpoint(folder, checkpoint.take_snapshot(model, adam, progress))

def die_at(number):
    seen = 0
    def watch(event, arguments):
        nonlocal seen
        if event in watched:
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)

number, code = 0, None
while code != 0:
    number += 1
    folder = root / str(number)
    save(folder, 1)
    child = os.fork()
    if not child:
        die_at(number)
        save(folder, 2)
        os._exit(0)
    code = os.waitpid(child, 0)[1]
print(number)
"""


def test_killed_at_any_moment(run_python: Callable[..., str], tmp_path: Path) -> None:
    # At the nth file that is opened, made, renamed: for every n there is.
    moments = int(run_python(_KILLED, tmp_path, flags=()))
    assert moments > 8
    unfinished, whole = 0, 0
    for number in range(1, moments + 1):
        folder = tmp_path / str(number)
        found = checkpoints(folder)
        steps = [load_checkpoint(path, *begin(0)).step for path in found]
        assert steps in ([1], [1, 2])
        whole += steps == [1, 2]
        unfinished += any(path.name.startswith(".") for path in folder.iterdir())
    assert unfinished > 4
    assert whole < moments // 2


def test_what_a_killed_process_left_is_written_over(pairs: tuple[Pair, Pair], tmp_path: Path) -> None:
    part = tmp_path / ".stage1-step00000002.part"
    part.mkdir()
    (part / "model.safetensors").write_bytes(b"half of it")
    (part / "something else").write_bytes(b"")
    second = save_checkpoint(tmp_path, take_snapshot(*pairs[1], SECOND))
    assert list(tmp_path.iterdir()) == [second]
    assert load_checkpoint(second, *begin(3)) == SECOND
    assert len(list(second.iterdir())) == 4
