"""Jobs that go on, on another host, when the build that they are of has ended and another one works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dimtool.composer.building import work
from dimtool.composer.building.scratch import sole_builder
from dimtool.composer.building.work import ShardJob, build_shard
from dimtool.composer.sources.lists import Lists
from dimtool.composer.sources.manifest import read_manifest


@pytest.fixture
def job(own: tuple[Path, Path]) -> ShardJob:
    """Of the first shard, with another pairing than the one that stands there."""
    root, out = own
    manifest = read_manifest(Lists(fg_list=root / "train_fg.txt", per_fg=1))
    with sole_builder(out) as hold:
        return ShardJob(entry=manifest.entries[0], split="train", folder=out, scratch=hold.scratch)


def test_a_job_that_starts_too_late_changes_nothing(job: ShardJob, contents: Any) -> None:
    before = contents(job.folder)
    with sole_builder(job.folder), pytest.raises(FileNotFoundError):
        build_shard(job)
    assert contents(job.folder) == before


def test_a_job_under_way_ends_before_its_next_composite(
    own: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, contents: Any
) -> None:
    root, out = own
    (entry, *_) = read_manifest(Lists(fg_list=root / "train_fg.txt", per_fg=2)).entries
    read, seen = work.read_background, list[str]()
    before = contents(out)
    with sole_builder(out) as hold:
        job = ShardJob(entry=entry, split="train", folder=out, scratch=hold.scratch)

        def and_meanwhile(path: Path, *more: Any) -> Any:
            seen.append(path.name)
            (out / ".build" / "lock").unlink()  # the first build is gone, with its host
            with sole_builder(out):
                pass
            return read(path, *more)

        monkeypatch.setattr(work, "read_background", and_meanwhile)
        with pytest.raises(FileNotFoundError):
            build_shard(job)
    assert seen == ["b0.jpg"]
    assert contents(out) == before
