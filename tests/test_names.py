"""What listed files are called, and what is named after them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dimtool.names import composite_name, image_formats, image_suffixes, labels, path_parts, stem

PATHS = st.lists(st.sampled_from(["a", "b", "c-d", "0"]), min_size=1, max_size=4).map("/".join)


def test_only_an_image_suffix_is_cut() -> None:
    for name, cut in {
        "a/shot1.cat": "shot1.cat",
        "photo.v2": "photo.v2",
        "photo.v2.png": "photo.v2",
        "x.JFIF": "x",
        "img.0001": "img.0001",
        "C:\\data\\x.jpg": "x",
        ".png": ".png",
    }.items():
        assert stem(name) == cut


def test_the_table_is_pillows_less_what_other_programs_would_decode() -> None:
    assert {".jpg", ".jfif", ".png", ".tif", ".webp", ".tga", ".jp2"} <= image_suffixes()
    assert not {".eps", ".ps", ".h5", ".hdf", ".mpg", ".txt", ""} & image_suffixes()
    assert "EPS" not in image_formats()


@given(st.lists(PATHS, unique=True, max_size=8))
def test_labels_are_the_stems_where_those_are_unique_and_distinct_where_folders_tell(
    names: list[str],
) -> None:
    given_labels = labels(names)
    stems = [stem(name) for name in names]
    for name, label in zip(names, given_labels, strict=True):
        assert label.endswith(stem(name))
        if stems.count(stem(name)) == 1:
            assert label == stem(name)
    for one in set(stems):
        group = [label for label, each in zip(given_labels, stems, strict=True) if each == one]
        joined = {"-".join(path_parts(name)) for name in names if stem(name) == one}
        assert len(set(group)) == len(group) or len(joined) < len(group)


@given(st.lists(PATHS, unique=True, max_size=6), st.randoms())
def test_labels_do_not_depend_on_the_order(names: list[str], random: object) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert dict(zip(shuffled, labels(shuffled), strict=True)) == dict(zip(names, labels(names), strict=True))


def test_clips_of_the_same_frames() -> None:
    assert labels(["clip1/0000.png", "clip2/0000.png", "clip2/0001.png"]) == [
        "clip1-0000",
        "clip2-0000",
        "0001",
    ]
    assert labels(["a/x/0.png", "b/x/0.png", "0.png"]) == ["a-x-0", "b-x-0", "0"]
    assert labels(["a.png", "a.jpg"]) == ["a", "a"]
    assert composite_name("clip1/0000.png", 3, "clip1-0000") == "clip1-0000_3"
    assert composite_name("clip1/0000.png", 3) == "0000_3"
