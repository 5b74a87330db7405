"""HDF5 must never see a write fail: it would end in a segmentation fault, at the latest when it closes."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest

from dimtool.composer.shards.reader import Shard
from dimtool.composer.shards.stream import Stream
from dimtool.composer.shards.writer import Layer, write_shard


@pytest.fixture
def failing_from(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Make the write number `first`, and all that follow, fail half way; the sizes of what was asked for."""
    real = os.pwrite
    asked: list[int] = []

    def fail(first: int, code: int = errno.ENOSPC) -> list[int]:
        def write(descriptor: int, data: Any, offset: int) -> int:
            asked.append(len(data))
            if len(asked) < first:
                return real(descriptor, data, offset)
            if len(asked) == first and len(data) > 1:
                return real(descriptor, data[: len(data) // 2], offset)  # a full disk takes what still fits
            raise OSError(code, os.strerror(code))

        asked.clear()
        monkeypatch.setattr(os, "pwrite", write)
        return asked

    return fail


def test_whichever_write_fails_the_error_arrives_and_hdf5_survives(
    shard_parts: Callable[..., Any], failing_from: Callable[..., list[int]], tmp_path: Path
) -> None:
    parts = shard_parts(1, 2, 40, 30)
    asked = failing_from(1_000_000)
    write_shard(tmp_path / "whole.h5", *parts)
    writes = len(asked)
    assert writes > 20
    for first in range(1, writes + 1):
        failing_from(first)
        path = tmp_path / f"{first}.h5"
        with pytest.raises(OSError, match="No space left") as caught:
            write_shard(path, *parts)
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))


def test_nothing_is_composed_for_a_disk_that_is_full(
    shard_parts: Callable[..., Any], failing_from: Callable[..., list[int]], tmp_path: Path
) -> None:
    header, matte, layers = shard_parts(1, 4, 40, 30)
    taken = []

    def compose() -> Iterator[Layer]:
        for layer in layers:
            taken.append(layer)
            failing_from(1)
            yield layer

    with pytest.raises(OSError, match="No space left"):
        write_shard(tmp_path / "a.h5", header, matte, compose())
    assert len(taken) == 1


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_an_error_of_a_source_closes_the_file(shard_parts: Callable[..., Any], tmp_path: Path) -> None:
    header, matte, layers = shard_parts(1, 2, 40, 30)

    def compose() -> Iterator[Layer]:
        yield layers[0]
        raise LookupError("of a source")

    before = _open_files()
    with pytest.raises(LookupError, match="of a source"):
        write_shard(tmp_path / "a.h5", header, matte, compose())
    assert _open_files() == before


def test_ctrl_c_waits_until_hdf5_is_out(shard_parts: Callable[..., Any], tmp_path: Path) -> None:
    header, matte, layers = shard_parts(1, 3, 40, 30)
    taken = []

    def compose() -> Iterator[Layer]:
        for layer in layers:
            taken.append(layer)
            if len(taken) == 2:
                signal.raise_signal(signal.SIGINT)
            yield layer

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "a.h5", header, matte, compose())
    assert len(taken) == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt), Stream(tmp_path / "b.h5") as stream:
        h5py.File(stream, "w").close()
        signal.raise_signal(signal.SIGINT)
    assert h5py.is_hdf5(tmp_path / "b.h5")


def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it(
    shard_parts: Callable[..., Any], tmp_path: Path
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stream(tmp_path / "a.h5"):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_file_that_is_there_is_not_destroyed(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("precious")
    with pytest.raises(FileExistsError), Stream(tmp_path / "a.h5"):
        pass
    assert (tmp_path / "a.h5").read_text() == "precious"


def test_hdf5_reads_and_extends_through_the_stream(tmp_path: Path) -> None:
    with Stream(tmp_path / "a.h5") as stream:
        with h5py.File(stream, "w") as file:
            file["a"] = list(range(1000))
        with h5py.File(stream, "r+") as file:
            assert file["a"][999] == 999
            file["b"] = 5
    with h5py.File(tmp_path / "a.h5") as file:
        assert (file["a"][10], file["b"][()]) == (10, 5)


def test_the_file_has_the_permissions_of_any_new_file(
    shard_parts: Callable[..., Any], tmp_path: Path
) -> None:
    before = os.umask(0o027)
    try:
        write_shard(tmp_path / "a.h5", *shard_parts(1, 1, 20, 20))
    finally:
        os.umask(before)
    assert (tmp_path / "a.h5").stat().st_mode & 0o777 == 0o640
    with Shard(tmp_path / "a.h5") as shard:
        assert len(shard) == 1
