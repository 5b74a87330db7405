"""What the network takes of memory, and how much of it is free."""

from __future__ import annotations

import pytest
import torch

from dimtool.model.inference import memory
from dimtool.model.inference.memory import bytes_needed, free_memory, pixels_that_fit
from dimtool.model.network.dim import ModelConfig

PEAKS = """
import resource, sys
import numpy as np, torch
from dimtool.model.inference.matter import Matter
from dimtool.model.network.dim import DeepImageMatting, ModelConfig

torch.set_num_threads(1)
model = DeepImageMatting(ModelConfig(width=0.25, bottleneck="slim"))
matter = Matter(model=model, device=torch.device("cpu"))
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
for height, width, allowed in ((1, 1, None), (31, 33, None), (3000, 300, 130_000_000), (5000, 200, None)):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = peak()
    alpha = matter.matte(image, np.full((height, width), 128, np.uint8), max_memory=allowed)
    assert alpha.shape == (height, width) and np.isfinite(alpha).all()
    print(peak() - before, peak())
"""


def test_the_memory_taken_is_what_was_allowed(run_python):
    lines = run_python(PEAKS).splitlines()
    *_, (taken, _), (_, peak) = ([int(word) for word in line.split()] for line in lines)
    assert taken < 130e6 + 3000 * 300 * 5  # and the result, with what is unknown
    assert peak < 2e9  # 6 GB at 4000 x 3000, which takes 20 s: benchmarks/inference.py


def test_more_pixels_need_more_memory_and_what_fits_fits():
    for config in (ModelConfig(bottleneck="slim", width=1 / 8), ModelConfig(width=1 / 8), ModelConfig()):
        assert bytes_needed(config, 4096) < bytes_needed(config, 8192)
        for budget in (0, 10_000_000, 10**9, 10**10):
            pixels = pixels_that_fit(config, budget)
            assert pixels == 0 or bytes_needed(config, pixels) <= budget
            assert bytes_needed(config, pixels + 1) > budget
    assert bytes_needed(ModelConfig(width=0.25), 10**6) < bytes_needed(ModelConfig(), 10**6) / 2


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(None, 8_000_000_000), ("max", 8_000_000_000), ("3000000000", 2_000_000_000), ("9" * 18, 8_000_000_000)],
)
def test_what_is_free_is_the_systems_or_the_containers(tmp_path, limit, expected):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(
        "MemTotal: 9000000 kB\nMemAvailable:    7812500 kB\nHugePages: 0\n"
    )
    if limit:
        group = tmp_path / "sys/fs/cgroup"
        group.mkdir(parents=True)
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.stat").write_text("anon 1000000000\nfile 1900000000\n")
    assert memory._free_on_cpu(tmp_path) == expected


def test_three_quarters_of_it_are_taken(monkeypatch):
    monkeypatch.setattr(memory, "_free_on_cpu", lambda: 4000)
    assert free_memory(torch.device("cpu")) == 3000
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6000, 9000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1000)
    assert free_memory(torch.device("cuda", 0)) == 6000
