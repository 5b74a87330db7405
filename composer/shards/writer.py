"""A shard file written: one foreground with all its composites, taken one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from ...arrays import UInt8Image, UInt8Mask
from ..sources.images import Source, pixel_digest
from .layout import FORMAT, SHARED_CODEC, VERSION, ShardHeader, current_versions
from .stream import Stream
from .tiles import TileEncoder, create_image_stack, opaque_tiles, tile_shape, used_tiles


@dataclass(frozen=True, kw_only=True)
class Matte:
    """What all composites of a shard share: the decoded sources, and the maps computed from the alpha.

    foreground: (h, w, 3), alpha: (h, w); distance: (h, w) uint8; centers: (m, 2) uint16; band: (h, w)
    bool, where the background is kept.
    """

    foreground: Source
    alpha: Source
    distance: UInt8Mask
    centers: NDArray[np.uint16]
    band: NDArray[np.bool_]


class Layer(NamedTuple):
    """One composite, its fitted background (both (h, w, 3)), and the file that the background came from."""

    composite: UInt8Image
    background: UInt8Image
    source: Source


def write_shard(path: Path, header: ShardHeader, matte: Matte, layers: Iterable[Layer]) -> None:
    """Write a new shard file; `layers` are taken one at a time, in the order of `header.backgrounds`.

    The same arguments give the same bytes. Raises FileExistsError rather than destroy a file, OSError
    where the disk is full, ValueError for a wrong number of layers.
    """
    with Stream(path) as stream, h5py.File(stream, "w", libver=("v110", "v110")) as file:
        _write_attributes(file, header, matte)
        _write_shared(file, header, matte)
        _write_layers(file, len(header.backgrounds), matte, stream.checked(layers))


def _write_attributes(file: h5py.File, header: ShardHeader, matte: Matte) -> None:
    file.attrs["format"] = _fixed(FORMAT)
    file.attrs["version"] = VERSION
    file.attrs["split"] = _fixed(header.split)
    file.attrs["index"] = header.index
    file.attrs["foreground"] = _fixed(header.foreground)
    file.attrs["background_radius"] = header.background_radius
    if header.label:
        file.attrs["label"] = _fixed(header.label)
    if header.first:
        file.attrs["first"] = header.first
    if reading := header.reading.values():
        file.attrs["reading"] = _fixed(json.dumps(reading, sort_keys=True))
    file.attrs["versions"] = _fixed(json.dumps(current_versions(), sort_keys=True))
    file.attrs["foreground_source"] = matte.foreground.digests
    file.attrs["alpha_source"] = matte.alpha.digests


def _fixed(text: str) -> NDArray[np.bytes_]:
    """A text of fixed length: it lies under a checksum. Other ones lie on a heap, whose damage hangs HDF5."""
    data = text.encode()
    return np.array(data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))


def _write_shared(file: h5py.File, header: ShardHeader, matte: Matte) -> None:
    for name, values in (
        ("foreground", matte.foreground.pixels),
        ("alpha", matte.alpha.pixels),
        ("distance", matte.distance),
    ):
        # Read with each of the composites and stored once: a codec that decodes fast, not the smallest.
        # Zstd takes twice as long. Of damaged tiles, HDF5's Blosc and Bitshuffle crash, and its LZ4 prints.
        chunks = (*tile_shape(*values.shape[:2]), *values.shape[2:])
        # Written now, not when the dataset is closed: a profiler that holds on to it decides when that is.
        file.create_dataset(name, data=values, chunks=chunks, **SHARED_CODEC).flush()
    file["centers"] = matte.centers
    names = [name.encode() for name in header.backgrounds]
    longest = max((len(name) for name in names), default=1)
    file["background_name"] = np.array(names, dtype=h5py.string_dtype("utf-8", longest))


def _write_layers(file: h5py.File, count: int, matte: Matte, layers: Iterable[Layer]) -> None:
    height, width = matte.alpha.pixels.shape
    stacks = [create_image_stack(file, name, count, height, width) for name in ("composite", "background")]
    composite_tiles = TileEncoder(height, width, constant=opaque_tiles(matte.alpha.pixels))
    background_tiles = TileEncoder(height, width, used_tiles(matte.band))
    # Spread over the channels once: NumPy multiplies arrays of one shape several times as fast.
    band = np.repeat(matte.band[..., None], 3, axis=2)
    digest = np.zeros((count, 2, 32), np.uint8)
    source = np.zeros((count, 2, 32), np.uint8)
    size = np.zeros((count, 2), np.uint16)
    written = 0
    for i, layer in enumerate(layers):
        if i == count:
            # HDF5 takes a chunk just past the end and overwrites memory with it.
            raise ValueError(f"more layers were given than {count} backgrounds")
        background = layer.background * band
        for (y, x), stream in composite_tiles(layer.composite):
            stacks[0].id.write_direct_chunk((i, y, x, 0), stream)
        for (y, x), stream in background_tiles(background):
            stacks[1].id.write_direct_chunk((i, y, x, 0), stream)
        digest[i] = [_row(pixel_digest(layer.composite)), _row(pixel_digest(background))]
        source[i], size[i] = layer.source.digests, layer.source.pixels.shape[:2]
        written += 1
    if written != count:
        raise ValueError(f"{written} layers were given for {count} backgrounds")
    file["digest"], file["background_source"], file["background_size"] = digest, source, size


def _row(digest: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(digest, np.uint8)
