"""The cache: bounded, least used first, whole, shared by processes, and kept between them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dimtool.storage.cache import Cache
from dimtool.storage.remote import read_url
from dimtool.storage.stores import StorageError

from .conftest import Store

KB = 1000


def gets(store: Store, prefix: str) -> int:
    return sum(line.startswith(f"GET /bucket/{prefix}") for line in store.requests())


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "copies", 100 * KB)


def copy(cache: Cache, prefix: str, name: str, bytes_: int = 30 * KB, key: str = "1") -> Path:
    return cache.copy(read_url(f"s3://bucket/{prefix}/{name}"), key, bytes_, lambda path: None)


@pytest.fixture
def prefix(store: Store, tmp_path: Path) -> str:
    """Of five objects of 30 kB."""
    for name in "abcde":
        store.put(f"{tmp_path.name}/{name}", name.encode() * 30 * KB)
    return tmp_path.name


def test_an_object_comes_once_and_stays_for_other_processes(cache: Cache, store: Store, prefix: str) -> None:
    first = copy(cache, prefix, "a")
    assert first.read_bytes() == b"a" * 30 * KB
    assert copy(Cache(cache.folder, cache.limit), prefix, "a") == first
    assert gets(store, prefix) == 1


def test_the_least_used_go_and_the_bound_holds(cache: Cache, store: Store, prefix: str) -> None:
    paths = {name: copy(cache, prefix, name) for name in "abc"}
    copy(cache, prefix, "a")  # used again: b is the oldest now
    with paths["b"].open("rb") as reading:
        paths["d"] = copy(cache, prefix, "d")
        assert {name for name, path in paths.items() if path.exists()} == {"a", "c", "d"}
        assert reading.read() == b"b" * 30 * KB  # who has it open loses nothing
    assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= cache.limit


def test_what_is_larger_than_the_cache_is_told(cache: Cache, store: Store, prefix: str) -> None:
    with pytest.raises(StorageError, match=r"/a has 200.0 kB and the cache is to hold 100.0 kB: .*--cache"):
        copy(cache, prefix, "a", bytes_=200 * KB)


def test_a_copy_of_another_length_is_brought_anew(cache: Cache, store: Store, prefix: str) -> None:
    copy(cache, prefix, "a").write_bytes(b"cut")
    assert copy(cache, prefix, "a").read_bytes() == b"a" * 30 * KB


def test_another_content_under_the_name_is_another_copy(cache: Cache, store: Store, prefix: str) -> None:
    old = copy(cache, prefix, "a", key="1")
    store.put(f"{prefix}/a", b"z" * 30 * KB)
    assert copy(cache, prefix, "a", key="2").read_bytes() == b"z" * 30 * KB
    assert old.read_bytes() == b"a" * 30 * KB


def test_what_is_not_right_leaves_nothing(cache: Cache, store: Store, prefix: str) -> None:
    def refuse(path: Path) -> None:
        raise StorageError("wrong")

    with pytest.raises(StorageError, match="wrong"):
        cache.copy(read_url(f"s3://bucket/{prefix}/a"), "1", 30 * KB, refuse)
    assert [path.name for path in cache.folder.iterdir() if path.suffix != ".lock"] == []


def test_processes_that_want_one_object_bring_it_once(cache: Cache, store: Store, prefix: str) -> None:
    code = (
        "from pathlib import Path; from dimtool.storage.cache import Cache;"
        "from dimtool.storage.remote import read_url;"
        f"cache = Cache(Path({str(cache.folder)!r}), {cache.limit});"
        f"url = read_url('s3://bucket/{prefix}/e');"
        "print(cache.copy(url, '1', 30000, lambda path: None).read_bytes()[:1])"
    )
    several = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(3)]
    assert [each.communicate()[0] for each in several] == [b"b'e'\n"] * 3
    assert gets(store, prefix) == 1
