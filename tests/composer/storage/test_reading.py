"""Shards read from a store: by every command that reads shards, by crops, over S3 and over plain HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.composer.shards.layout import ShardError
from dimtool.model.crops.dataset import TrainingCrops
from dimtool.model.crops.reading import CropConfig

from .conftest import SECRET, Store


@pytest.fixture
def url(store: Store, built: Path, tmp_path: Path) -> str:
    """Of a copy of the built shards, in the store."""
    store.upload(built, f"{tmp_path.name}/train")
    return f"s3://bucket/{tmp_path.name}/train"


def test_samples_from_a_store_are_those_of_the_disk(url: str, built: Path) -> None:
    here, there = CompositeDataset(built), CompositeDataset(url)
    assert there.index == here.index
    for i in range(len(here)):
        for name, values in vars(here[i]).items():
            assert (values == getattr(there[i], name)) is True or (values == getattr(there[i], name)).all()


def test_what_is_in_the_cache_is_not_asked_for_again(url: str, store: Store) -> None:
    CompositeDataset(url)[0]
    before = len(store.requests())
    CompositeDataset(url)[0]
    asked = store.requests()[before:]
    assert {line.split()[1].rpartition("/")[2] for line in asked} == {"index.json"}


@pytest.mark.parametrize("words", [["verify-composites", "--json"], ["inspect", "--json"], ["inspect"]])
def test_commands_say_of_a_store_what_they_say_of_the_disk(
    words: list[str], url: str, built: Path, command: Callable
) -> None:
    here, there = command(*words, built), command(*words, url)
    assert there.code == here.code == 0, there.err
    same = there.out.replace(url, str(built))
    if words[0] == "inspect":
        assert same == here.out
    else:
        assert '"verdict": "incomplete"' in same  # where the sources are is known on their own machine alone
        assert '"findings": []' in same


def test_a_header_comes_without_its_pixels(url: str, built: Path, store: Store, command: Callable) -> None:
    name = next(built.glob("*.h5")).name
    before = len(store.requests())
    assert command("inspect", f"{url}/{name}").code == 0
    ranges = [line for line in store.requests()[before:] if line.startswith("GET") and name in line]
    assert all("bytes=" in line or "list-type" in line for line in ranges)


def test_an_export_of_a_store_is_that_of_the_disk(
    url: str, built: Path, tmp_path: Path, command: Callable, contents: Callable
) -> None:
    for shards, out in ((built, "here"), (url, "there")):
        assert command("export-images", shards, tmp_path / out, "--jobs", 1).code == 0
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_pictures_of_a_store(url: str, tmp_path: Path, command: Callable) -> None:
    assert command("inspect", url, "--sheet", tmp_path / "sheet.png").code == 0
    assert command("inspect", url, "--image", 1, "--out", tmp_path / "one.png").code == 0
    assert (tmp_path / "sheet.png").exists()
    assert (tmp_path / "one.png").exists()


def test_a_plain_web_server_will_do_to_read_from(
    url: str, built: Path, store: Store, command: Callable
) -> None:
    plain = url.replace("s3://", f"http://127.0.0.1:{store.port}/")
    assert CompositeDataset(plain).index == CompositeDataset(built).index
    outcome = command("verify-composites", plain, "--jobs", 1)
    assert outcome.code == 0, outcome.err
    assert "no finding" in outcome.out


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_object_is_found_and_named(
    damage: str, url: str, store: Store, built: Path, command: Callable
) -> None:
    name = next(built.glob("*.h5")).name
    key = f"{url.removeprefix('s3://bucket/')}/{name}"
    data = bytearray(store.read(key))
    data[len(data) // 2] ^= 1
    store.put(key, bytes(data) if damage == "flipped" else bytes(data[:-9]), "1" * 32)
    outcome = command("verify-composites", url, "--jobs", 1)
    assert outcome.code == 1
    assert f"{url}/{name}" in outcome.out
    number = next(i for i, each in enumerate(CompositeDataset(url).index.shards) if each.file == name)
    with pytest.raises(ShardError, match=rf"^{url}/{name} (has \d|does not have the SHA-256)"):
        CompositeDataset(url).shard(number)


def test_a_missing_object_and_a_stranger_are_found(
    url: str, store: Store, built: Path, command: Callable
) -> None:
    name, prefix = next(built.glob("*.h5")).name, url.removeprefix("s3://bucket/")
    store.path(f"{prefix}/{name}").rename(store.path(f"{prefix}/9999-other.h5"))
    outcome = command("verify-composites", url, "--jobs", 1)
    assert outcome.code == 1
    assert f"{url}/{name}: the shard is missing" in outcome.out
    assert "9999-other.h5" in outcome.out


def test_a_store_that_is_gone_is_one_line(
    store: Store, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:hunter2@127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    outcome = command("inspect", "s3://bucket/none")
    assert outcome.code == 1
    (line,) = outcome.lines
    assert line.startswith("dimtool: s3://bucket/none")
    assert "hunter2" not in line
    assert SECRET not in line


def test_a_part_that_comes_otherwise_is_one_line(
    url: str, built: Path, command: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    botocore = pytest.importorskip("botocore.exceptions")

    def fail(*_words: object) -> None:
        raise botocore.FlexibleChecksumError(error_msg="Expected checksum 1 did not match 2")

    monkeypatch.setattr("s3fs.core.S3File._fetch_range", fail)
    name = next(built.glob("*.h5")).name
    outcome = command("inspect", f"{url}/{name}")
    assert outcome.code == 1
    assert outcome.lines[-1].startswith(f"dimtool: {url}/{name}: the store does not answer as it should")


def test_no_index_is_told_with_the_url(store: Store, command: Callable) -> None:
    outcome = command("verify-composites", "s3://bucket/nothing-here")
    assert outcome.code == 2
    assert "s3://bucket/nothing-here holds no shards" in outcome.err


def test_no_secret_is_anywhere(url: str, tmp_path: Path, command: Callable, store: Store) -> None:
    """Neither in what commands say and write, nor in the cache's names, nor in the store."""
    outcome = command("verify-composites", url, "--report", tmp_path / "report", "--jobs", 1)
    texts = [outcome.out, outcome.err, *(str(path) for path in tmp_path.rglob("*"))]
    texts += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    texts += [store.read(key).decode("latin-1") for key in store.names()]
    for secret in (SECRET, os.environ["AWS_ACCESS_KEY_ID"]):
        assert not any(secret in text for text in texts)


def test_a_cache_too_small_for_the_set_is_told(
    url: str, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CompositeDataset(built).room_note == CompositeDataset(url).room_note == ""
    monkeypatch.setenv("DIMTOOL_CACHE_SIZE", "1kB")
    assert f"{url} has " in CompositeDataset(url).room_note
    assert "--cache" in CompositeDataset(url).room_note


def test_workers_bring_what_their_crops_need(url: str, built: Path, store: Store) -> None:
    config = CropConfig(size=32, cuts=(32,), radii=(1, 3))
    crops = TrainingCrops(url, config)
    before = len(store.requests())
    loader = DataLoader(crops, num_workers=2, multiprocessing_context="fork", collate_fn=list, timeout=60)
    here = TrainingCrops(built, config)
    for i, (crop,) in enumerate(loader):
        assert torch.equal(crop["image"], here[i]["image"])
    asked = [line for line in store.requests()[before:] if line.startswith("GET") and ".h5" in line]
    assert len(asked) == len(list(built.glob("*.h5")))  # by two processes, each shard once


def test_crops_from_a_store_are_those_of_the_disk(url: str, built: Path) -> None:
    config = CropConfig(size=32, cuts=(32, 48), radii=(1, 3))
    here, there = TrainingCrops(built, config), TrainingCrops(url, config)
    for i in range(len(here)):
        assert all(torch.equal(here[1, i][name], there[1, i][name]) for name in ("image", "trimap", "alpha"))
