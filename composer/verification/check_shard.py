"""One shard proved: its file, its format, and every pixel of it; one function a check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...arrays import UInt8Image
from ...files import file_sha256
from ...storage.remote import Place
from ...storage.stores import StorageError
from ...text import count, first_line
from ..pixels.composition import composite
from ..pixels.trimap import sample_centers, transition_distance, transition_region
from ..shards.decoder import TileDecoder, TileError
from ..shards.index import ShardRecord
from ..shards.layout import BACKGROUND_RADIUS, DATASETS, ShardError
from ..shards.reader import Shard
from ..shards.structure import BROKEN, end_of_file
from ..shards.tiles import Corner, opaque_tiles, tile_corners
from ..sources.images import pixel_digest
from .check_sources import Sources
from .duplicates import PerceptualHash, perceptual_hash
from .findings import Tally
from .subject import ShardTask, Subject, gather, wrong_pixels

UNKNOWN_RADIUS = 10  # of the trimap whose unknown fraction the report shows


@dataclass(frozen=True, kw_only=True)
class ShardFacts:
    """Small facts of a readable shard, for the checks of the whole set and for the report.

    perceptual: None where the shared arrays are not looked at. alpha_histogram: (256,) pixels; unknown:
    share of the pixels in a trimap of radius 10; enlarged: the factor of each background, 1 for none.
    background_digests: of each background's pixels.
    """

    foreground: str
    backgrounds: tuple[str, ...]
    foreground_digest: bytes
    alpha_digest: bytes
    perceptual: PerceptualHash | None
    height: int
    width: int
    alpha_histogram: NDArray[np.int64]
    unknown: float
    enlarged: tuple[float, ...]
    background_digests: tuple[bytes, ...]

    @property
    def matte(self) -> tuple[bytes, bytes]:
        """What tells the foreground's pixels with their matte from others."""
        return self.foreground_digest, self.alpha_digest


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """What was found in one shard; `facts` is None where it cannot be read."""

    folder: Place
    record: ShardRecord
    tally: Tally
    facts: ShardFacts | None = None


def check_shard(task: ShardTask) -> ShardReport:
    """All checks of one shard. Whatever is wrong with it is a Finding, never an exception."""
    tally = Tally()
    subject = Subject(task, tally)
    check_file(subject)
    facts = None
    try:
        with Shard(subject.path, copied_to=subject.file) as shard:
            subject.shard = shard
            if check_format(subject):
                facts = _facts(subject)
                check_maps(subject)
                _check_composites(subject)
    except (
        ShardError,
        StorageError,
        RuntimeError,
        OSError,
    ) as error:  # HDF5 has them for damage to its own structures
        subject.found("format", _without_path(error, subject.path))
    return ShardReport(folder=task.folder, record=task.record, tally=tally, facts=facts)


def check_file(subject: Subject) -> None:
    """Size and SHA-256 of the file against the index."""
    record = subject.task.record
    subject.tally.tried["files"] += 1
    try:
        path = subject.file
        if (size := path.stat().st_size) != record.bytes:
            subject.found("files", "the file's size is wrong", expected=record.bytes, found=size)
        elif subject.task.hash_file and (found := file_sha256(path)) != record.sha256:
            subject.found("files", "the file's SHA-256 is wrong", expected=record.sha256, found=found)
    except OSError as error:
        subject.found("files", f"the file cannot be read: {error.strerror}")
    except StorageError as error:
        subject.found("files", f"the file cannot be read: {_without_path(error, subject.path)}")


def check_format(subject: Subject) -> bool:
    """Header, datasets, shapes, types, and the presence of every tile. Whether pixels can be looked at."""
    subject.tally.tried["format"] += 1
    before = len(subject.tally.findings)
    for name in DATASETS:
        try:
            subject.shard.dataset(name)
        except KeyError:
            subject.found("format", f"dataset {name} is missing")
        except BROKEN as error:
            subject.found("format", f"dataset {first_line(error)}")
    if len(subject.tally.findings) == before:
        _check_header(subject)
    if len(subject.tally.findings) == before:
        _check_places(subject, "composite", tile_corners(*subject.shard.shape))
        _check_places(subject, "background", subject.kept)
    return len(subject.tally.findings) == before


def _check_header(subject: Subject) -> None:
    """What the shard says of itself, against the index and against what every shard of this version says."""
    record, shard = subject.task.record, subject.shard
    header = shard.header
    there = (
        *(header.split, header.index, header.foreground, header.label, header.first),
        *(shard.count, *shard.shape),
    )
    listed = (
        *(subject.task.split, record.index, record.foreground, record.label, record.first),
        *(record.composites, record.height, record.width),
    )
    if there != listed:
        subject.found("format", "it is not the shard that the index names", expected=listed, found=there)
    if header.reading.values() != record.reading:
        what = "its sources were read in another way than the index says"
        subject.found("format", what, expected=record.reading, found=header.reading.values())
    if header.background_radius != BACKGROUND_RADIUS:
        what = "the background is kept within another radius than in a shard of this version"
        subject.found("format", what, expected=BACKGROUND_RADIUS, found=header.background_radius)
    if not shard.versions or shard.versions != record.versions:
        what = "it names other versions than the index"
        subject.found("format", what, expected=record.versions, found=shard.versions)
    end, size = end_of_file(subject.file), subject.file.stat().st_size
    if end != size:
        what = "the file does not end where it says" if end else "it does not begin as a shard does"
        subject.found("format", what, expected=end, found=size)
    _ = shard.source_digests  # raises where they are none


def _check_places(subject: Subject, name: str, corners: Sequence[Corner]) -> None:
    there: set[tuple[int, ...]] = set()
    subject.shard.dataset(name).id.chunk_iter(lambda chunk: there.add(chunk.chunk_offset[:3]))
    every = range(subject.task.record.composites)
    expected = {(i, *corner) for i in every for corner in corners}
    for wrong, fault in ((expected - there, "missing"), (there - expected, "too many")):
        numbers = Counter(place[0] for place in wrong)
        if 1 < len(every) == len(numbers):
            subject.found("format", f"{name} tiles are {fault} in every composite", found=len(wrong))
            continue
        for i, number in sorted(numbers.items()):
            subject.found("format", f"{name} tiles are {fault}", composite=i, found=number)


def check_maps(subject: Subject) -> None:
    """The shared arrays: foreground and alpha against their digests, distance and centers computed again."""
    if not subject.task.maps:
        return
    subject.tally.tried["maps"] += 1
    digests = subject.shard.source_digests
    for name, pixels in (("foreground", subject.foreground), ("alpha", subject.alpha)):
        if pixel_digest(pixels) != digests[name][1].tobytes():
            subject.found("maps", f"{name} does not have the digest that was written with it")
    region = transition_region(subject.alpha)
    if not np.array_equal(subject.distance, transition_distance(region)):
        subject.found("maps", "distance is not the distance to the alpha's transition region")
    if not np.array_equal(subject.shard.centers, sample_centers(region, subject.shard.header.index)):
        subject.found("maps", "centers are not the sample of the alpha's transition region")


def _check_composites(subject: Subject) -> None:
    shard, task = subject.shard, subject.task
    chosen = range(len(shard)) if task.composites is None else task.composites
    digests, sources = shard.digests, Sources(subject)
    read_composite = TileDecoder(shard.dataset("composite"), constant=opaque_tiles(subject.alpha))
    read_background = TileDecoder(shard.dataset("background"), subject.kept)
    for i in chosen:
        subject.tally.tried["pixels"] += 1
        try:
            layer, background = read_composite(i), read_background(i)
        except TileError as error:
            subject.found("pixels", f"it cannot be decoded: {error}", composite=i)
            continue
        if check_pixels(subject, i, layer, background, digests[i]):
            check_composition(subject, i, layer, background)
            sources.check(i, layer, background)


def check_pixels(
    subject: Subject, i: int, layer: UInt8Image, background: UInt8Image, digests: NDArray[np.uint8]
) -> bool:
    """Decoded composite and background against the digests that were taken when they were composed."""
    good = True
    for name, pixels, digest in (("composite", layer, digests[0]), ("background", background, digests[1])):
        if pixel_digest(pixels) != digest.tobytes():
            subject.found(
                "pixels", f"the decoded {name} does not have the digest written with it", composite=i
            )
            good = False
    return good


def check_composition(subject: Subject, i: int, layer: UInt8Image, background: UInt8Image) -> None:
    """The composite against the rule, from the shard's own foreground, alpha and background, bit for bit.

    Where alpha is 0 the composite is the background by definition; where it is 255 the rule gives the
    foreground, whether or not a background is kept.
    """
    subject.tally.tried["composition"] += 1
    blended = composite(*subject.blended_parts, gather(background, subject.between))
    wrong = wrong_pixels(blended != gather(layer, subject.between))
    wrong += wrong_pixels((subject.foreground != layer) & subject.opaque)
    if wrong:
        what = f"it is not the official composition in {count(wrong, 'pixel')}"
        subject.found("composition", what, composite=i)


def _facts(subject: Subject) -> ShardFacts:
    shard, alpha = subject.shard, subject.alpha
    height, width = alpha.shape
    sizes = np.maximum(shard.background_sizes, 1).astype(float)
    enlarged = np.maximum(1, np.maximum(width / sizes[:, 1], height / sizes[:, 0]))
    return ShardFacts(
        foreground=shard.header.foreground,
        backgrounds=shard.header.backgrounds,
        foreground_digest=shard.source_digests["foreground"][1].tobytes(),
        alpha_digest=shard.source_digests["alpha"][1].tobytes(),
        perceptual=perceptual_hash(subject.foreground, alpha) if subject.task.maps else None,
        height=height,
        width=width,
        alpha_histogram=np.bincount(alpha.ravel(), minlength=256),
        unknown=float((subject.distance <= UNKNOWN_RADIUS).mean()),
        enlarged=tuple(enlarged.tolist()),
        background_digests=tuple(each.tobytes() for each in shard.source_digests["background"][:, 1]),
    )


def _without_path(error: Exception, path: Place) -> str:
    advice = ": run `dimtool verify-composites`"
    return str(error).removeprefix(f"{path}: ").removeprefix(f"{path} ").removesuffix(advice)
