"""Shards read by programs with an HDF5 library of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import hdf5plugin
import numpy as np
import pytest

from dimtool.composer.shards.reader import Shard


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump is not installed")
@pytest.mark.parametrize(
    ("dataset", "region"),
    [
        ("composite", "[1,10,12,0;;1,3,4,3;]"),
        ("background", "[1,10,12,0;;1,3,4,3;]"),
        ("alpha", "[10,12;;3,4;]"),
    ],
)
def test_h5dump_finds_the_filters_by_their_path(built: Path, dataset: str, region: str) -> None:
    path = min(built.glob("*.h5"))
    done = subprocess.run(
        ["h5dump", "-y", "-w", "0", "-d", f"/{dataset}{region}", str(path)],
        env={**os.environ, "HDF5_PLUGIN_PATH": hdf5plugin.PLUGIN_PATH},
        capture_output=True,
        text=True,
        check=True,
    )
    data = done.stdout.partition("DATA {")[2].partition("}")[0]
    read = np.array([int(each) for each in re.findall(r"\d+", data)], np.uint8)
    with Shard(path) as shard:
        stacks = {"composite": shard.composite, "background": shard.background}
        whole = stacks[dataset](1) if dataset in stacks else shard.alpha()
    expected = whole[10:13, 12:16]
    assert expected.any()
    assert np.array_equal(read, expected.ravel())
