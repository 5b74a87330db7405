"""Places by their URLs: what is taken, what is refused unread, what a message may hold."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from dimtool.errors import WrongUseError
from dimtool.storage.remote import Remote, read_place, read_url
from dimtool.storage.stores import StorageError, filesystem, harmless, told


@pytest.mark.parametrize(
    ("text", "told_as"),
    [
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("S3://bucket//a/./b/", "s3://bucket/a/./b"),
        ("gcs://bucket/a", "gs://bucket/a"),
        ("https://host/a", "https://host/a"),
    ],
)
def test_a_url_is_a_place_and_its_text_a_url(text: str, told_as: str) -> None:
    place = read_url(text)
    assert str(place) == told_as
    assert (place / "x.h5").name == "x.h5"
    assert str((place / "x.h5").parent) == told_as
    assert pickle.loads(pickle.dumps(place)) == place


def test_a_path_stays_a_path() -> None:
    assert read_place("shards/train") == Path("shards/train")
    assert read_place(Path("s3:/odd")) == Path("s3:/odd")


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKID:hunter2@bucket/a",
        "https://user:hunter2@host/a",
        "https://host/a?X-Amz-Signature=hunter2",
        "https://host/a#hunter2",
        "ftp://hunter2/a",
        "s3://",
        "s3://bucket/../hunter2",
    ],
)
def test_what_may_hold_a_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(WrongUseError) as raised:
        read_url(text)
    assert "hunter2" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_librarys_words_lose_users_passwords_and_queries() -> None:
    said = 'could not reach "http://me:hunter2@10.0.0.1:9000/bucket/key?X-Amz-Credential=hunter2&b=1" now'
    assert harmless(said) == 'could not reach "http://10.0.0.1:9000/bucket/key" now'


@pytest.mark.parametrize("error", [OSError(5, "it broke"), PermissionError(13, "Forbidden"), TimeoutError()])
def test_what_goes_wrong_with_a_store_is_one_line_that_names_the_object(error: OSError) -> None:
    with pytest.raises(StorageError, match=r"^s3://b/k: .*: see that") as raised, told(Remote("s3", "b/k")):
        raise error
    assert "\n" not in str(raised.value)


def test_a_full_disk_here_is_no_fault_of_the_store() -> None:
    with pytest.raises(OSError, match="No space"), told("s3://b/k"):
        raise OSError(28, "No space left on device")


def test_a_library_that_is_not_there_is_told_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(WrongUseError, match=r"pip install 'dimtool\[gcs\]'"):
        filesystem(Remote("gs", "bucket/a"))
