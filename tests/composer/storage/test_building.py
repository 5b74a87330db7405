"""Builds into a store: the same bytes as on the disk, whatever dies in the middle of them."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from .conftest import SECRET, Store


class There(NamedTuple):
    """A folder in the store: its URL, and what its keys begin with."""

    store: Store
    url: str
    prefix: str

    def names(self, below: str = "") -> list[str]:
        return self.store.names(f"{self.prefix}/{below}")

    def contents(self) -> dict[str, bytes]:
        return self.store.contents(self.prefix)


@pytest.fixture
def there(store: Store, tmp_path: Path) -> There:
    prefix = f"{tmp_path.name}/train"
    return There(store, f"s3://bucket/{prefix}", prefix)


@pytest.fixture(scope="module")
def on_disk(built: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in built.iterdir() if path.is_file()}


def puts(store: Store, since: int = 0) -> list[str]:
    return [line.split()[1] for line in store.requests()[since:] if line.startswith("PUT")]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_set_in_a_store_is_that_of_the_disk(
    jobs: int, there: There, sources: Path, on_disk: dict[str, bytes], build: Callable
) -> None:
    outcome = build(sources, there.url, jobs=jobs)
    assert outcome.code == 0, outcome.err
    assert there.contents() == on_disk
    assert hashlib.sha256(on_disk["index.json"]).hexdigest() in outcome.out  # its fingerprint
    backgrounds, *names = there.names(".build/")
    assert backgrounds.startswith(f"{there.prefix}/.build/backgrounds-")
    assert names == [
        f"{there.prefix}/.build/{name}" for name in ("journal.jsonl", "lists.json", "places.json")
    ]
    assert puts(there.store)[-2:] == [
        f"/bucket/{there.prefix}/index.json",
        f"/bucket/{there.prefix}/.build/journal.jsonl",
    ]


def test_a_second_build_downloads_and_uploads_no_shard(there: There, sources: Path, build: Callable) -> None:
    build(sources, there.url)
    before, shards = len(there.store.requests()), there.contents()
    outcome = build(sources, there.url)
    assert outcome.code == 0
    assert " 0 built" in outcome.out
    assert there.contents() == shards
    assert not [each for each in puts(there.store, before) if each.endswith(".h5")]
    whole = [
        line for line in there.store.requests()[before:] if line.startswith("GET") and line.endswith(".h5 ")
    ]
    assert whole == []


def test_a_shard_without_a_record_is_built_again(
    there: There, sources: Path, on_disk: dict[str, bytes], build: Callable
) -> None:
    build(sources, there.url)
    name = min(key for key in there.names() if key.endswith(".h5"))
    there.store.put(name, b"of another hand", "1" * 32)
    outcome = build(sources, there.url)
    assert " 2 built" in outcome.out
    assert there.contents() == on_disk


def test_a_server_killed_five_times(
    there: There, sources: Path, on_disk: dict[str, bytes], start: Callable,
    build_arguments: Callable,
) -> None:  # fmt: skip
    """It is gone for 2 s each time, in the middle of the build."""
    before = len(there.store.requests())
    process = start(*build_arguments(sources, there.url))
    seen, killed = before, 0
    for _ in range(5):
        deadline = time.monotonic() + 60
        while (
            len(there.store.requests()) < seen + 4 and process.poll() is None and time.monotonic() < deadline
        ):
            time.sleep(0.005)
        killed += process.poll() is None
        there.store.kill()
        names = there.names()
        assert f"{there.prefix}/index.json" not in names or process.poll() is not None
        for name in names:
            if name.endswith(".h5"):
                assert there.store.read(name) == on_disk[name.rpartition("/")[2]]
        time.sleep(2)
        there.store.start()
        seen = len(there.store.requests())
    assert process.wait(120) == 0
    assert killed == 5
    assert there.contents() == on_disk


def test_a_build_killed_goes_on(
    there: There, sources: Path, on_disk: dict[str, bytes], start: Callable, build_arguments: Callable
) -> None:
    process = start(*build_arguments(sources, there.url))
    deadline = time.monotonic() + 60
    while not there.names(".build/built/") and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert f"{there.prefix}/.build/lock" in there.names()
    recorded = len(there.names(".build/built/"))
    before = len(there.store.requests())
    assert start(*build_arguments(sources, there.url)).wait(120) == 0
    assert there.contents() == on_disk
    again = [each for each in puts(there.store, before) if each.endswith(".h5")]
    assert len(again) <= 4 - recorded


def test_a_second_builder_is_refused_and_told_whose_the_lock_is(
    there: There, sources: Path, build: Callable
) -> None:
    holder = {"owner": "x", "place": "elsewhere", "host": "node7", "process": 42, "since": "noon"}
    there.store.put(f"{there.prefix}/.build/lock", json.dumps(holder).encode())
    outcome = build(sources, there.url)
    assert outcome.code == 2
    (line,) = outcome.starting("dimtool:")
    assert f"another build is at work in {there.url} (process 42 on node7, since noon)" in line
    assert f"remove {there.url}/.build/lock" in line
    assert there.names() == [f"{there.prefix}/.build/lock"]
    there.store.path(f"{there.prefix}/.build/lock").unlink()  # the advice
    assert build(sources, there.url).code == 0


@pytest.mark.parametrize("machine", ["same", "other"])
def test_of_two_builders_the_second_is_refused(
    machine: str, there: There, sources: Path, start: Callable, build_arguments: Callable
) -> None:
    """Another machine is one that keeps its own notes elsewhere; it cannot know that a process is dead."""
    first = start(*build_arguments(sources, there.url))
    deadline = time.monotonic() + 60
    while not there.names(".build/lock") and time.monotonic() < deadline:
        time.sleep(0.002)
    first.send_signal(signal.SIGSTOP)
    with pytest.MonkeyPatch.context() as environment:
        if machine == "other":
            environment.setenv("DIMTOOL_CACHE", str(there.store.root / there.prefix / "elsewhere"))
        second = start(*build_arguments(sources, there.url), stderr=subprocess.PIPE)
    told = second.communicate(timeout=60)[1].decode()
    assert second.returncode == 2
    assert f"another build is at work in {there.url}" in told
    assert ("remove s3://" in told) == (machine == "other")
    first.send_signal(signal.SIGCONT)
    assert first.wait(60) == 0


def test_a_build_that_lost_its_lock_publishes_nothing(
    there: There, sources: Path, start: Callable, build_arguments: Callable
) -> None:
    process = start(*build_arguments(sources, there.url))
    deadline = time.monotonic() + 60
    while not there.names(".build/built/") and time.monotonic() < deadline:
        time.sleep(0.002)
    there.store.put(f"{there.prefix}/.build/lock", b'{"owner": "another"}')
    assert process.wait(60) == 1
    assert f"{there.prefix}/index.json" not in there.names()
    assert there.store.read(f"{there.prefix}/.build/lock") == b'{"owner": "another"}'


def test_uploads_in_parts_that_nobody_ended_are_given_up(
    there: There, sources: Path, build: Callable
) -> None:
    parts = there.store.root / ".parts"
    parts.mkdir(exist_ok=True)
    (parts / "ours.key").write_text(f"bucket/{there.prefix}/0000-f0.h5")
    (parts / "ours.00001").write_bytes(b"half")
    (parts / "theirs.key").write_text("bucket/other/0000-f0.h5")
    build(sources, there.url)
    assert sorted(path.name for path in parts.iterdir()) == ["theirs.key"]


def test_an_upload_that_arrives_otherwise_is_removed_and_told(
    there: There, sources: Path, build: Callable
) -> None:
    (there.store.root / "damage").write_text(".h5")  # the server flips a bit of what it is given
    try:
        outcome = build(sources, there.url)
    finally:
        (there.store.root / "damage").unlink()
    assert outcome.code == 1
    assert "did not arrive as it was sent" in outcome.err
    assert not [name for name in there.names() if name.endswith((".h5", "index.json"))]


def test_nothing_is_built_over_https(sources: Path, build: Callable) -> None:
    outcome = build(sources, "https://127.0.0.1/x")
    assert outcome.code == 2
    assert "can only be read" in outcome.err


@pytest.fixture
def listed(there: There, sources: Path) -> list[str]:
    """Options for the same sources in the store."""
    for name in ("fg", "alpha", "bg"):
        there.store.upload(sources / name, f"{there.prefix}/{name}")
    return [
        word
        for name in ("fg", "alpha", "bg")
        for word in (f"--{name}-dir", f"s3://bucket/{there.prefix}/{name}")
    ]


def test_sources_in_a_store_give_the_same_set(
    listed: list[str], sources: Path, on_disk: dict[str, bytes], there: There, build: Callable
) -> None:
    assert build(sources, f"{there.url}/out", *listed).code == 0
    assert there.store.contents(f"{there.prefix}/out") == on_disk
    before = len(there.store.requests())
    assert " 0 built" in build(sources, f"{there.url}/out", *listed).out
    asked = [line for line in there.store.requests()[before:] if line.startswith("GET")]
    assert not [line for line in asked if line.split()[1].endswith((".png", ".jpg"))]


def test_a_set_is_verified_against_sources_in_a_store(
    listed: list[str], sources: Path, tmp_path: Path, build: Callable, command: Callable
) -> None:
    out = tmp_path / "out"
    assert build(sources, out, *listed).code == 0
    verified = command("verify-composites", out, "--jobs", 1)
    assert verified.code == 0
    assert "all is as it should be" in verified.out


def test_a_source_that_a_store_lacks_is_named(
    listed: list[str], sources: Path, there: There, tmp_path: Path, build: Callable
) -> None:
    there.store.path(f"{there.prefix}/fg/f1.png").unlink()
    outcome = build(sources, tmp_path / "out", *listed)
    assert outcome.code == 1
    assert f"f1.png is not in {there.url}/fg or below" in outcome.err


def test_a_damaged_shard_is_repaired_in_its_store(
    there: There, sources: Path, on_disk: dict[str, bytes], build: Callable,
    command: Callable,
) -> None:  # fmt: skip
    build(sources, there.url)
    name = min(key for key in there.names() if key.endswith(".h5"))
    there.store.put(name, there.store.read(name)[:-100], "1" * 32)
    assert command("verify-composites", there.url, "--repair", "--jobs", 1).code == 0
    assert there.contents() == on_disk


def test_a_build_shows_no_secret(there: There, sources: Path, tmp_path: Path, build: Callable) -> None:
    outcome = build(sources, there.url)
    texts = [outcome.out, outcome.err, *(there.store.read(key).decode("latin-1") for key in there.names())]
    texts += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(SECRET in text or "AKIDEXAMPLE" in text for text in texts)
