"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dimtool.files import LockedError, file_sha256, locked, own_scratch, part_of, publish, write_text


class _Stop(BaseException):
    """As KeyboardInterrupt is: no Exception."""


@pytest.fixture(params=[0o022, 0o077, 0o002, 0o000])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_part_becomes_the_file(tmp_path: Path) -> None:
    """While the block runs, there is an empty file beside the final name, in the same folder."""
    final = tmp_path / "a.json"
    with part_of(final) as part:
        assert part.parent == tmp_path
        assert part.stat().st_size == 0
        assert not final.exists()
        part.write_text("new")
    assert final.read_text() == "new"
    assert names(tmp_path) == ["a.json"]


def test_replacing_is_atomic(tmp_path: Path) -> None:
    """The old content stands until the end, and whoever has it open goes on reading it."""
    final = tmp_path / "a.json"
    final.write_text("old")
    with final.open() as reader:
        with part_of(final) as part:
            part.write_text("new content")
            assert final.read_text() == "old"
        assert reader.read() == "old"
    assert final.read_text() == "new content"
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError, _Stop])
@pytest.mark.parametrize("old", [None, "old"])
def test_failure_leaves_nothing(tmp_path: Path, error: type[BaseException], old: str | None) -> None:
    """Neither a part nor a changed file."""
    final = tmp_path / "a.json"
    if old:
        final.write_text(old)

    def fail() -> None:
        with part_of(final) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == (["a.json"] if old else [])
    assert not old or final.read_text() == old


def test_error_of_the_system_names_the_file(tmp_path: Path) -> None:
    """A full disk does not say by itself which file it hit; a name that is known already stays."""
    for known in (None, "other"):
        with pytest.raises(OSError, match="No space") as caught, part_of(tmp_path / "a.json"):
            raise OSError(errno.ENOSPC, "No space", known)
        assert caught.value.filename == (known or str(tmp_path / "a.json"))


def test_failure_to_publish_leaves_nothing(tmp_path: Path) -> None:
    """The final name is a folder: the system refuses, and the part goes."""
    (tmp_path / "a.json" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_text(tmp_path / "a.json", "text")
    assert names(tmp_path) == ["a.json"]


def test_text_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.json", "\ud800")
    assert names(tmp_path) == []


def test_mode_follows_the_umask(tmp_path: Path, umask: int) -> None:
    """As `open` would make it, not the 0600 of temporary files; the umask itself stays."""
    write_text(tmp_path / "a.json", "text")
    (tmp_path / "plain").touch()
    mode = stat.S_IMODE((tmp_path / "a.json").stat().st_mode)
    assert mode == 0o666 & ~umask
    assert mode == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert os.umask(umask) == umask


def test_text_is_utf_8_with_its_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "ä b.json", "Käfer\r\nstraße\n")
    assert (tmp_path / "ä b.json").read_bytes() == "Käfer\r\nstraße\n".encode()


def test_parts_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """Two writers of one name: the last to finish wins, with its own content."""
    final = tmp_path / "a.json"
    with part_of(final) as one, part_of(final) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert final.read_text() == "one"
    assert names(tmp_path) == ["a.json"]


def test_content_is_on_the_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync of the part, then the new name, then fsync of the folder: a power cut leaves old or new."""
    steps: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        steps.append(("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        fsync(descriptor)

    def record_replace(source: Path, target: Path) -> None:
        steps.append(("replace", str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    part, final = tmp_path / "part", tmp_path / "final"
    part.write_text("content")
    publish(part, final)
    assert steps == [("fsync", str(part)), ("replace", str(final)), ("fsync", str(tmp_path))]
    assert names(tmp_path) == ["final"]


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_file_sha256(tmp_path: Path, size: int) -> None:
    content = bytes(i % 251 for i in range(size))
    (tmp_path / "a").write_bytes(content)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


# ---- file systems that lack a call ------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_is_published_where_folders_are_not_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fsync, synced = os.fsync, []

    def lacking(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        synced.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", lacking)
    write_text(tmp_path / "x", "text")
    assert (tmp_path / "x").read_text() == "text"
    assert synced


@pytest.mark.parametrize(("number", "folder"), [(errno.EIO, True), (errno.EINVAL, False)])
def test_other_failures_to_sync_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, folder: bool
) -> None:
    """A disk that fails, and a file whose content is perhaps not on it."""

    def failing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == folder:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match=os.strerror(number)):
        write_text(tmp_path / "x", "text")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_it_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def lacking(_descriptor: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", lacking)
    with locked(tmp_path / "lock") as held:
        assert not held


def test_one_holds_a_lock(tmp_path: Path) -> None:
    with locked(tmp_path / "lock") as held:
        assert held
        with pytest.raises(LockedError), locked(tmp_path / "lock"):
            pass
    with locked(tmp_path / "lock") as held:
        assert held


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127, "日" * 85])
def test_a_name_as_long_as_systems_take(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "text")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_pipe_is_not_hashed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is no file"):
        file_sha256(tmp_path / "pipe")


def test_unfinished_files_of_a_run_that_is_over_cannot_be_published(tmp_path: Path) -> None:
    """A worker on another host hears late, or never, that its run has ended and another one has begun."""
    with own_scratch(tmp_path) as first:
        orphan, late = first / "begun.part", first / "late.part"
        orphan.write_text("old")
        with own_scratch(tmp_path) as second:
            (second / "new.part").write_text("new")
            publish(second / "new.part", tmp_path / "final")
            with pytest.raises(FileNotFoundError):
                publish(orphan, tmp_path / "final")
            with pytest.raises(FileNotFoundError):
                late.write_text("old")
            with pytest.raises(FileNotFoundError), part_of(tmp_path / "final", first):
                pass
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"final": "new"}


def test_scratch_that_could_not_be_removed_goes_with_the_next_run(tmp_path: Path) -> None:
    for left in (".parts-1", ".gone-2"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "a.part").write_text("half")
    with own_scratch(tmp_path) as scratch:
        assert list(tmp_path.iterdir()) == [scratch]
