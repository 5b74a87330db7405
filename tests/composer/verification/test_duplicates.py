"""Foregrounds that are one picture are found however they were changed, and others are not taken for one."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import combinations, count
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dimtool.composer.shards.index import Index, ShardRecord
from dimtool.composer.verification.check_set import FolderReport, check_duplicates
from dimtool.composer.verification.check_shard import ShardFacts, ShardReport
from dimtool.composer.verification.duplicates import NEAR, _bands, distance, near_pairs, perceptual_hash
from dimtool.composer.verification.findings import Tally

Cut = tuple[Image.Image, Image.Image]  # foreground, alpha
Change = Callable[[Image.Image, Image.Image], Cut]


# ---- pictures, and what people do to them ------------------------------------------------------------------


def drawn(seed: int, height: int = 300, width: int = 400) -> Cut:
    """A foreground of blobs on several scales, and a matte with a soft border."""
    rng = np.random.default_rng(seed)
    layers = [
        Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize((width, height), 3)
        for n in (4, 9, 30)
    ]
    pixels = np.mean([np.asarray(layer) for layer in layers], axis=0).astype(np.uint8)
    y, x = np.mgrid[:height, :width]
    centre = rng.uniform(0.35, 0.65, 2) * (height, width)
    radius = np.hypot(y - centre[0], x - centre[1]) / rng.uniform(100, 160)
    alpha = np.clip(255 * 3 * (1 - radius), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels), Image.fromarray(alpha)


def as_jpeg(picture: Image.Image, quality: int = 40) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def scaled(factor: float) -> Change:
    def change(foreground: Image.Image, alpha: Image.Image) -> Cut:
        size = (round(foreground.width * factor), round(foreground.height * factor))
        return foreground.resize(size, Image.Resampling.LANCZOS), alpha.resize(size, Image.Resampling.LANCZOS)

    return change


def mirrored(foreground: Image.Image, alpha: Image.Image) -> Cut:
    return ImageOps.mirror(foreground), ImageOps.mirror(alpha)


def all_at_once(foreground: Image.Image, alpha: Image.Image) -> Cut:
    foreground, alpha = scaled(0.4)(*mirrored(foreground, alpha))
    return as_jpeg(foreground, 60), alpha


CHANGES: dict[str, Change] = {
    "as it is": lambda foreground, alpha: (foreground, alpha),
    "JPEG 40": lambda foreground, alpha: (as_jpeg(foreground), alpha),
    "a third": scaled(1 / 3),
    "2.2 times": scaled(2.2),
    "mirrored": mirrored,
    "a quarter brighter": lambda foreground, alpha: (foreground.point(lambda v: min(255, v * 5 // 4)), alpha),
    "all at once": all_at_once,
}


def hashed(foreground: Image.Image, alpha: Image.Image) -> tuple[int, int]:
    return perceptual_hash(np.asarray(foreground.convert("RGB")), np.asarray(alpha))


# ---- the hash ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_picture_is_near(change: str) -> None:
    for seed in range(6):
        picture = drawn(seed)
        assert distance(hashed(*picture), hashed(*CHANGES[change](*picture))) < NEAR


def test_other_pictures_are_far() -> None:
    hashes = [hashed(*drawn(seed)) for seed in range(30)]
    assert min(distance(*pair) for pair in combinations(hashes, 2)) > 1.5 * NEAR


def test_one_picture_cut_out_differently_is_another() -> None:
    """A photograph may hold two subjects, each with a matte of its own."""
    foreground, alpha = drawn(1)
    left, right = (np.array(alpha) for _ in range(2))
    left[:, 200:], right[:, :200] = 0, 0
    assert distance(*(hashed(foreground, Image.fromarray(half)) for half in (left, right))) > NEAR


def test_what_lies_under_alpha_0_does_not_count() -> None:
    foreground, alpha = drawn(2)
    covered = np.where((np.asarray(alpha) == 0)[..., None], 255, np.asarray(foreground)).astype(np.uint8)
    assert hashed(foreground, alpha) == hashed(Image.fromarray(covered), alpha)


def test_it_is_the_kept_library_s_hash() -> None:
    """In the library's own terms: 256 bits of the picture, and of its mirror image."""
    foreground, _ = drawn(3, 100, 120)
    opaque = Image.new("L", foreground.size, 255)
    expected = [
        int(str(imagehash.phash(each, hash_size=16)), 16)
        for each in (foreground, ImageOps.mirror(foreground))
    ]
    assert hashed(foreground, opaque) == tuple(expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (3, 2), (127, 129), (2000, 40)])
def test_any_size(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    bits = perceptual_hash(
        rng.integers(0, 256, (*shape, 3), dtype=np.uint8), rng.integers(0, 256, shape, dtype=np.uint8)
    )
    assert all(0 <= each < 2**256 for each in bits)


BITS = st.integers(0, 2**256 - 1)


@given(BITS, BITS, BITS)
def test_distance(first: int, other: int, mirror: int) -> None:
    expected = min(bin(first ^ other).count("1"), bin(first ^ mirror).count("1"))
    assert distance((first, 0), (other, mirror)) == expected


@given(st.lists(st.integers(0, 60), min_size=1, max_size=8))
def test_near_pairs_are_all_pairs_under_the_bound(ones: list[int]) -> None:
    hashes = [(name, (2**count - 1, 2**256 - 1)) for name, count in enumerate(ones)]
    expected = {
        (i, j, abs(ones[i] - ones[j])) for i, j in combinations(range(len(ones)), 2)
        if abs(ones[i] - ones[j]) < NEAR
    }  # fmt: skip
    assert set(near_pairs(hashes)) == expected


# ---- real images -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_foregrounds(real_data: Path) -> dict[str, Cut]:
    return {
        path.name: (
            Image.open(path).convert("RGB"),
            Image.open(real_data / "alpha" / path.name).convert("RGB").getchannel(0),
        )
        for path in sorted((real_data / "fg").glob("*.png"))
    }


def test_no_false_alarm_among_real_foregrounds(real_foregrounds: dict[str, Cut]) -> None:
    hashes = [(name, hashed(*cut)) for name, cut in real_foregrounds.items()]
    assert len(hashes) > 20
    assert not list(near_pairs(hashes))


def test_no_false_alarm_among_real_photographs(real_data: Path) -> None:
    """Taken as opaque foregrounds: 210 of them make 21,945 pairs."""
    hashes = []
    for path in sorted((real_data / "bg").glob("*.jpg")):
        with Image.open(path) as image:
            image.draft("RGB", (256, 256))
            picture = image.convert("RGB")
        hashes.append((path.name, hashed(picture, Image.new("L", picture.size, 255))))
    assert len(hashes) > 200
    assert not list(near_pairs(hashes))


@pytest.mark.parametrize("change", CHANGES)
def test_changed_real_foregrounds_are_found(real_foregrounds: dict[str, Cut], change: str) -> None:
    """And each is near its own only."""
    hashes = {name: hashed(*cut) for name, cut in real_foregrounds.items()}
    for name in sorted(hashes)[::4]:
        changed = hashed(*CHANGES[change](*real_foregrounds[name]))
        assert [other for other, bits in hashes.items() if distance(bits, changed) < NEAR] == [name]


# ---- all pairs, without a look at each ---------------------------------------------------------------------


WORDS = st.integers(0, 2**256 - 1)


@st.composite
def families(draw: st.DrawFn) -> list[tuple[int, tuple[int, int]]]:
    """Hashes of which many are some bits away from another one, or from its mirror image."""
    hashes: list[tuple[int, int]] = [(draw(WORDS), draw(WORDS))]
    for _ in range(draw(st.integers(0, 12))):
        relative = draw(st.sampled_from(hashes))[draw(st.integers(0, 1))]
        spots = draw(st.sets(st.integers(0, 255), max_size=NEAR + 1))
        spread = draw(st.integers(0, 1))  # bits that lie together hit few bands, and those hard
        flipped = sum(1 << (spot if spread else 100 + k) for k, spot in enumerate(spots))
        hashes.append((relative ^ flipped, draw(WORDS)))
    return list(enumerate(hashes))


def pairwise_near(hashes: list[tuple[int, tuple[int, int]]]) -> list[tuple[int, int, int]]:
    """By looking at each pair."""
    pairs = [(first, second) for i, second in enumerate(hashes) for first in hashes[:i]]
    apart = [(one[0], two[0], distance(two[1], one[1])) for one, two in pairs]
    return [each for each in apart if each[2] < NEAR]


@given(families())
def test_bands_find_the_pairs_that_looking_at_each_finds(hashes: list[tuple[int, tuple[int, int]]]) -> None:
    assert list(near_pairs(hashes)) == pairwise_near(hashes)


@given(st.integers(1, 10_000_000))
def test_no_near_pair_differs_too_much_in_every_band(number: int) -> None:
    """The bands cover all bits once, and allow for each of them less than NEAR differences in all."""
    bands = list(_bands(number))
    assert [bit for start, stop, _ in bands for bit in range(start, stop)] == list(range(256))
    assert all(0 <= most < stop - start for start, stop, most in bands)
    assert sum(most + 1 for _, _, most in bands) == NEAR


@pytest.mark.parametrize("number", [40, 300, 3000])
def test_bands_of_any_width_find_pairs_at_the_limit(number: int) -> None:
    """One that is 39 bits away, as evenly spread as can be, is found, and one that is 40 away is not."""
    rng = np.random.default_rng(number)
    hashes = [(bits_of(row[:32]), bits_of(row[32:])) for row in rng.integers(0, 256, (number, 64), np.uint8)]
    for apart in (39, 40):
        places = [round(i * 256 / apart) for i in range(apart)]
        hashes.append((hashes[apart % number][apart % 2] ^ sum(1 << each for each in places), 0))
    assert list(near_pairs(list(enumerate(hashes)))) == [(39 % number, number, 39)]


def test_a_clip_of_many_frames_is_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dimtool.composer.verification.duplicates._AT_ONCE", 50)
    hashes = [(i, (7 ^ (i % 4), 2**255 - i)) for i in range(40)]
    assert list(near_pairs(hashes)) == pairwise_near(hashes)


# ---- the check of the set ----------------------------------------------------------------------------------


_NUMBERS = count()  # each is of a foreground of its own


def shard(name: str, digest: int, bits: int | None) -> ShardReport:
    record = ShardRecord(
        file=name,
        index=next(_NUMBERS),
        foreground=name,
        composites=1,
        height=1,
        width=1,
        bytes=0,
        sha256="",
        versions={},
    )
    facts = ShardFacts(
        foreground=name,
        backgrounds=("b",),
        foreground_digest=bytes([digest]),
        alpha_digest=b"",
        perceptual=None if bits is None else (bits, 2**256 - 1 - bits),
        height=1,
        width=1,
        background_digests=(),
        alpha_histogram=np.zeros(256, np.int64),
        unknown=0.0,
        enlarged=(1.0,),
    )
    return ShardReport(folder=Path("x"), record=record, tally=Tally(), facts=facts)


def folder(split: str, *shards: ShardReport) -> FolderReport:
    index = Index(split=split, per_fg=1, asked=0, shards=())
    return FolderReport(folder=Path(split), index=index, manifest=None, shards=shards)


FAR = [0, 2**100 - 1, (2**100 - 1) << 100]


def test_all_are_different() -> None:
    report = folder("train", *(shard(str(i), i, bits) for i, bits in enumerate(FAR)))
    tally = check_duplicates([report])
    assert not tally.findings
    assert tally.tried["duplicates"] == 3


def test_a_group_of_equal_ones_is_told_once_each() -> None:
    report = folder("train", *(shard(str(i), 7, FAR[0]) for i in range(4)))
    findings = check_duplicates([report]).findings
    assert [each.shard for each in findings] == ["1", "2", "3"]
    assert all("train/0" in each.what and "the same pixels" in each.what for each in findings)


def test_one_that_is_nearly_one_of_two_equal_ones() -> None:
    """In test, nearly what train holds twice: that it is there twice hides nothing."""
    train = folder("train", shard("a", 1, FAR[1]), shard("b", 1, FAR[1]))
    test = folder("test", shard("c", 2, FAR[1] ^ 3))
    findings = check_duplicates([train, test]).findings
    assert [(each.folder, each.shard) for each in findings] == [("train", "b"), ("test", "c")]
    assert "and in train as well as in test: nearly the same picture, 2 of 256 bits apart" in findings[1].what


def test_shards_that_were_not_looked_into() -> None:
    """Without hashes the exact ones are still found; a shard that cannot be read is passed over."""
    broken = ShardReport(folder=Path("x"), record=shard("z", 0, None).record, tally=shard("z", 0, 0).tally)
    report = folder("train", shard("a", 1, None), broken, shard("b", 1, None), shard("c", 2, None))
    assert [each.shard for each in check_duplicates([report]).findings] == ["b"]


def bits_of(values: NDArray[np.uint8]) -> int:
    return int.from_bytes(values.tobytes(), "big")


def test_hundreds_of_foregrounds() -> None:
    """As many as Adobe's set has, of random bits: no pair of unrelated ones is near."""
    rng = np.random.default_rng(4)
    shards = [shard(str(i), i % 256, bits_of(rng.integers(0, 256, 32, dtype=np.uint8))) for i in range(250)]
    assert not check_duplicates([folder("train", *shards)]).findings
