"""index.json: what it says of a folder, in the same bytes each time, and files that are no index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimtool.composer.shards.index import Index, ShardRecord, by_index, read_index, record_of, write_index
from dimtool.composer.shards.layout import ShardError, current_versions
from dimtool.composer.sources.reading import Reading

INDEX = Index(
    split="test",
    per_fg=20,
    asked=60,
    shards=(
        ShardRecord(
            file="0001-ä b.h5",
            index=1,
            foreground="ä b.png",
            composites=20,
            height=7,
            width=9,
            bytes=1234,
            sha256="0f" * 32,
            versions={"dimtool": "1", "pillow": "2"},
        ),
        ShardRecord(
            file="0002-c.h5",
            index=2,
            foreground="c.png",
            composites=19,
            height=1,
            width=2,
            bytes=5,
            sha256="a",
            versions={"dimtool": "2", "pillow": "2"},
        ),
    ),
)


def test_index_comes_back(tmp_path: Path) -> None:
    write_index(tmp_path, INDEX)
    assert read_index(tmp_path) == INDEX
    assert (INDEX.composites, INDEX.bytes) == (39, 1239)


def test_content_is_as_the_format_says(tmp_path: Path) -> None:
    write_index(tmp_path, INDEX)
    text = (tmp_path / "index.json").read_text(encoding="utf-8")
    assert "ä b" in text
    assert text.endswith("}\n")
    content = json.loads(text)
    assert list(content) == sorted(content)
    shards = content.pop("shards")
    assert content == {
        "format": "dimtool-index",
        "version": 1,
        "split": "test",
        "per_fg": 20,
        "asked": 60,
        "composites": 39,
    }
    assert shards[0] == {
        "file": "0001-ä b.h5",
        "index": 1,
        "foreground": "ä b.png",
        "composites": 20,
        "height": 7,
        "width": 9,
        "bytes": 1234,
        "sha256": "0f" * 32,
        "versions": {"dimtool": "1", "pillow": "2"},
    }


def test_same_index_same_bytes(tmp_path: Path) -> None:
    """Whatever the order in which the versions were collected; nothing else is left in the folder."""
    write_index(tmp_path, INDEX)
    first = (tmp_path / "index.json").read_bytes()
    turned = [replace(each, versions=dict(reversed(each.versions.items()))) for each in INDEX.shards]
    write_index(tmp_path, replace(INDEX, shards=tuple(turned)))
    assert (tmp_path / "index.json").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


def test_record_of_a_shard(tmp_path: Path, shard_folder: Callable[..., list[object]]) -> None:
    shard_folder(tmp_path, [(2, 5, 7)])
    path = tmp_path / "0000-a.h5"
    assert record_of(path) == ShardRecord(
        file="0000-a.h5",
        index=0,
        foreground="Käfer 0 (1).png",
        composites=2,
        height=5,
        width=7,
        bytes=len(path.read_bytes()),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        versions=current_versions(),
    )


def test_records_in_the_order_of_the_list() -> None:
    first, second = INDEX.shards
    assert by_index([second, first]) == by_index([first, second]) == (first, second)


def broken(change: Callable[[dict[str, object]], object]) -> str:
    content = json.loads(json.dumps({"format": "dimtool-index", "version": 1, "composites": 0, "split": "a"}))
    content |= {"per_fg": 1, "asked": 0, "shards": []}
    changed = change(content)
    return json.dumps(content if changed is None else changed)


def one_shard(**changes: object) -> Callable[[dict[str, object]], dict[str, object]]:
    """The second shard's record, changed."""

    def change(content: dict[str, object]) -> dict[str, object]:
        content["shards"] = [{**asdict(INDEX.shards[1]), **changes}]
        return content | {"composites": changes.get("composites", 19)}

    return change


WRONG = [
    ("file", "../0002-c.h5"), ("file", "/etc/passwd"), ("file", "0002.txt"), ("file", 3), ("file", "a\0.h5"),
    ("composites", 10**12), ("composites", "19"), ("composites", 0), ("composites", 1.5), ("index", -1),
    ("height", 0), ("width", 70_000), ("bytes", -5), ("bytes", 10**30), ("sha256", None),
    ("versions", []), ("versions", {"pillow": 3}),
]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        broken(lambda content: content.pop("shards") and None),
        broken(lambda content: {**content, "shards": 3}),
        broken(lambda content: {**content, "shards": [{"file": "a"}]}),
        broken(lambda content: {**content, "surprise": 1}),
        broken(lambda content: {name: value for name, value in content.items() if name != "split"}),
        broken(lambda content: {name: value for name, value in content.items() if name != "format"}),
        broken(lambda content: {**content, "version": 2}),
        broken(lambda content: {**content, "format": "dimtool-shard"}),
        broken(lambda content: {**content, "asked": "many"}),
        broken(lambda content: {**content, "per_fg": True}),
        "[" * 100_000,
        *(broken(one_shard(**{name: value})) for name, value in WRONG),
        broken(
            lambda content: one_shard()(content) | {"composites": 38, "shards": [content["shards"][0]] * 2}
        ),
    ],
)
def test_no_index(tmp_path: Path, text: str) -> None:
    """Whatever is in it, one line that names the file."""
    (tmp_path / "index.json").write_text(text, encoding="utf-8")
    with pytest.raises(ShardError) as caught:
        read_index(tmp_path)
    assert str(caught.value).count(str(tmp_path / "index.json")) == 1
    assert str(caught.value).splitlines() == [str(caught.value)]


def test_index_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ShardError, match="is broken"):
        read_index(tmp_path)
    with pytest.raises(ShardError, match=r"does not exist|holds no shards"):
        read_index(tmp_path / "missing")
    with pytest.raises(ShardError, match="holds no shards"):
        read_index(tmp_path / "index.json")  # a file in the place of a folder


def test_a_whole_one_is_taken(tmp_path: Path) -> None:
    """What the tests above change."""
    (tmp_path / "index.json").write_text(broken(one_shard()), encoding="utf-8")
    assert read_index(tmp_path).shards == INDEX.shards[1:]


def test_versions_are_the_shards(tmp_path: Path) -> None:
    """A mixed set says so; an index from before had one for all, and each record has it now."""
    assert INDEX.versions == [{"dimtool": "1", "pillow": "2"}, {"dimtool": "2", "pillow": "2"}]
    write_index(tmp_path, INDEX)
    content = json.loads((tmp_path / "index.json").read_text())
    for record in content["shards"]:
        del record["versions"]
    (tmp_path / "index.json").write_text(json.dumps({**content, "versions": {"dimtool": "0"}}))
    assert read_index(tmp_path).versions == [{"dimtool": "0"}]


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    """The same after a way over the disk, another for any change of it."""
    write_index(tmp_path, INDEX)
    assert INDEX.fingerprint == read_index(tmp_path).fingerprint
    changes = [replace(INDEX, asked=61), replace(INDEX, shards=INDEX.shards[:1])]
    for name, value in asdict(INDEX.shards[0]).items():
        others = {"versions": {"a": "b"}, "reading": {"alpha_max": 9}}
        other = others[name] if name in others else value * 2 or "x"
        changes.append(replace(INDEX, shards=(replace(INDEX.shards[0], **{name: other}), INDEX.shards[1])))
    prints = {each.fingerprint for each in [INDEX, *changes]}
    assert len(prints) == len(changes) + 1
    assert all(len(each) == 64 for each in prints)


def test_a_shard_that_was_read_otherwise_says_so_in_the_index(tmp_path: Path) -> None:
    """Only where it differs from what the index says for all."""
    turned = Reading(exif_transpose=True).recorded
    index = replace(
        INDEX,
        reading=turned,
        shards=(replace(INDEX.shards[0], reading=turned.values()), replace(INDEX.shards[1], reading={})),
    )
    write_index(tmp_path, index)
    content = json.loads((tmp_path / "index.json").read_text())
    assert content["reading"] == {"exif_transpose": True}
    assert ["reading" in record for record in content["shards"]] == [False, True]
    assert read_index(tmp_path) == index


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
RECORDS = st.builds(
    ShardRecord,
    **dict.fromkeys(("file", "foreground", "sha256", "label"), TEXTS),
    **dict.fromkeys(("index", "composites", "height", "width", "bytes", "first"), st.integers(0, 2**40)),
    versions=st.dictionaries(TEXTS, TEXTS, max_size=3),
    reading=st.sampled_from([{}, {"alpha_max": 7}, {"alpha_from": "fg"}]),
)


@given(
    records=st.lists(RECORDS, max_size=3),
    reading=st.sampled_from([Reading(), Reading(alpha_max=7)]),
    grown=st.sampled_from([(), ((2, 3), (4, 5))]),
)
def test_the_text_is_that_of_a_plain_json_writer(
    records: list[ShardRecord], reading: Reading, grown: tuple[tuple[int, int], ...]
) -> None:
    index = Index(
        split='\n "shards": []', per_fg=9, asked=3, shards=tuple(records), reading=reading, grown=grown
    )
    content = {**asdict(index), "format": "dimtool-index", "version": 1, "composites": index.composites}
    content["reading"] = reading.values()
    for name in ("reading", "grown"):
        if not content[name]:
            del content[name]
    for record in content["shards"]:
        for name, usual in (("label", ""), ("first", 0), ("reading", reading.values())):
            if record[name] == usual:
                del record[name]
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert index.fingerprint == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("first", [-1, 2**31 - 1, "3", True, 1.0])
def test_a_first_composite_that_cannot_be_is_refused(tmp_path: Path, first: object) -> None:
    write_index(tmp_path, INDEX)
    content = json.loads((tmp_path / "index.json").read_text())
    content["shards"][1]["first"] = first
    (tmp_path / "index.json").write_text(json.dumps(content))
    with pytest.raises(ShardError, match="is broken"):
        read_index(tmp_path)


@pytest.mark.parametrize("grown", [7, [[1]], [[2, 20]], [[2, 0]], [["2", 3]], {"2": 3}])
def test_a_growth_that_cannot_be_is_refused(tmp_path: Path, grown: object) -> None:
    write_index(tmp_path, INDEX)
    content = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps({**content, "grown": [[2, 3], [5, 19]]}))
    assert read_index(tmp_path).grown == ((2, 3), (5, 19))
    (tmp_path / "index.json").write_text(json.dumps({**content, "grown": grown}))
    with pytest.raises(ShardError, match="is broken"):
        read_index(tmp_path)


def test_pieces_are_ordered_and_cut_by_their_first_composite() -> None:
    pieces = [replace(INDEX.shards[0], file=f"{first}.h5", first=first) for first in (7, 0, 12)]
    index = replace(INDEX, shards=by_index([*pieces, INDEX.shards[1]]))
    assert [each.first for each in index.shards] == [0, 7, 12, 0]
    assert (index.order.cuts, index.foregrounds) == ((0, 7, 12), 2)
