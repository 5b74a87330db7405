"""What a shard file is made of, looked at before a value of it is read.

HDF5 does what a file says: it opens other files for a dataset, runs any filter over it, allocates what its
shape asks for. So a reader takes what the writer makes, exactly, and refuses the rest unread.
"""

from __future__ import annotations

import math
from pathlib import Path

import h5py
import numpy as np
from h5py import h5a, h5d, h5l, h5p, h5s, h5t

from ...text import first_line
from ..sources.images import MAX_PIXELS, MAX_SIDE
from .layout import ATTRIBUTES, DATASETS, FORMAT, VERSION, filter_options
from .tiles import tile_shape

_LONGEST = 65_536  # bytes of a text: HDF5 has no longer attribute without a heap

_READS = f"this release reads {FORMAT!r}, version {VERSION}"

# What h5py raises for a file that is damaged, or made to look like a shard.
BROKEN = (KeyError, AttributeError, TypeError, ValueError, OSError, RuntimeError, OverflowError)


def check_version(file: h5py.File) -> None:
    """Raise ValueError unless the file says that it is a shard of this version."""
    try:
        there = read_attribute(file, "format"), read_attribute(file, "version")
    except BROKEN as error:
        raise ValueError(f"{first_line(error)}; {_READS}") from error
    if there != (FORMAT, VERSION):
        raise ValueError(f"format {there[0]!r}, version {there[1]!r}; {_READS}")


def end_of_file(path: Path) -> int:
    """Where the file ends by its own account (superblock, version 2 and 3); 0 where it has none."""
    with path.open("rb") as stream:
        head = stream.read(36)
    if len(head) < 36 or not head.startswith(b"\x89HDF\r\n\x1a\n") or head[8] not in (2, 3) or head[9] != 8:
        return 0
    return int.from_bytes(head[28:36], "little")


def check_members(file: h5py.File) -> None:
    """Raise ValueError where the file has a member or an attribute that no shard has, or a link to elsewhere.

    What is missing shows when it is asked for.
    """
    members: list[bytes] = []
    file.id.links.iterate(members.append)
    for name in members:
        if name.decode(errors="replace") not in DATASETS:
            raise ValueError(f"it has {name.decode(errors='replace')!a}, which is nothing of a shard's")
        if file.id.links.get_info(name).type != h5l.TYPE_HARD:
            raise ValueError(f"{name.decode()} is a link to elsewhere")
    for attribute in map(str, file.attrs):
        if attribute not in ATTRIBUTES:
            raise ValueError(f"it has an attribute {attribute!a}, which is none of a shard's")


def read_attribute(file: h5py.File, name: str) -> str | int | np.ndarray:
    """An attribute of the kind that it has in a shard. Raises ValueError for any other, KeyError for none."""
    attribute = h5a.open(file.id, name.encode())
    kind, space = attribute.get_type(), attribute.get_space()
    whole = space.get_simple_extent_type() != h5s.NULL
    wanted = ATTRIBUTES[name]
    if wanted is str:
        good = isinstance(kind, h5t.TypeStringID) and not kind.is_variable_str()
        good = good and kind.get_size() <= _LONGEST
    else:
        good = isinstance(kind, h5t.TypeIntegerID) and kind.get_size() == (8 if wanted is int else 1)
    shape = (2, 32) if wanted is bytes else ()
    if not (whole and good and attribute.shape == shape):
        raise ValueError(f"attribute {name} is {_KINDS[wanted]}")
    value = np.zeros(shape, attribute.dtype)
    attribute.read(value)
    if wanted is bytes:
        return value
    return bytes(value.item()).decode() if wanted is str else int(value)


_KINDS = {str: "no text of fixed length", int: "no number", bytes: "no pair of digests"}


def open_dataset(file: h5py.File, name: str, sides: dict[str, int]) -> h5py.Dataset:
    """A dataset exactly as the writer lays it out, all its values in the file. Raises one of BROKEN.

    sides: the lengths `n`, `h`, `w` as far as they are known from other datasets; what this one says of
    them is added.
    """
    opened, plan = h5d.open(file.id, name.encode()), DATASETS[name]
    properties = opened.get_create_plist()
    # First of all: to ask a virtual dataset for its shape opens the files that it names.
    layout = h5d.CHUNKED if plan.codec else h5d.CONTIGUOUS
    if properties.get_layout() != layout or properties.get_external_count():
        raise ValueError(f"{name} is not stored as in a shard")
    _check_shape(opened, name, sides)
    if properties.fill_value_defined() != h5d.FILL_VALUE_DEFAULT:
        raise ValueError(f"{name} has a value for what is not written")
    if plan.codec:
        _check_tiles(opened, name, properties)
    else:
        _check_extent(file, opened, name)
    return h5py.Dataset(opened)


def _check_shape(opened: h5d.DatasetID, name: str, sides: dict[str, int]) -> None:
    """Type, shape, and that the shape agrees with those of the other datasets."""
    plan, kind, space = DATASETS[name], opened.get_type(), opened.get_space()
    if not isinstance(kind, h5t.TypeStringID if plan.kind == "|S" else h5t.TypeIntegerID):
        raise TypeError(f"{name} is of another type")
    variable = isinstance(kind, h5t.TypeStringID) and kind.is_variable_str()
    if variable or not opened.dtype.str.startswith(plan.kind) or kind.get_size() > _LONGEST:
        raise TypeError(f"{name} is of another type")
    found = space.get_simple_extent_dims() if space.get_simple_extent_type() == h5s.SIMPLE else ()
    known: dict[str | int, int] = {
        side: sides.get(side, length) for side, length in _named(plan.shape, found)
    }
    if list(found) != [known.get(side, side) for side in plan.shape]:
        raise ValueError(f"{name} is of another shape, {found}")
    if space.get_simple_extent_dims(True) != found:
        raise ValueError(f"{name} can grow")
    sides |= {side: length for side, length in _named(plan.shape, found) if side != "m"}
    height, width = sides.get("h", 1), sides.get("w", 1)
    if not 0 < height <= MAX_SIDE or not 0 < width <= MAX_SIDE or height * width > MAX_PIXELS:
        raise ValueError(f"{name} is {width} x {height}, which no image here can be")


def _named(shape: tuple[str | int, ...], found: tuple[int, ...]) -> list[tuple[str, int]]:
    return [(side, length) for side, length in zip(shape, found, strict=False) if isinstance(side, str)]


def _check_tiles(opened: h5d.DatasetID, name: str, properties: h5p.PropDCID) -> None:
    """The tiles of an image, its filter with all its options; of what is stored once, every tile."""
    plan, shape = DATASETS[name], opened.shape
    stack = plan.shape[0] == "n"
    tile = tile_shape(*shape[int(stack) :][:2])
    chunk = (*((1,) if stack else ()), *tile, *((3,) if plan.shape[-1] == 3 else ()))
    filters = [properties.get_filter(i)[:3:2] for i in range(properties.get_nfilters())]
    if properties.get_chunk() != chunk or filters != [(plan.codec, filter_options(plan.codec, chunk))]:
        raise ValueError(f"{name} is not cut into tiles as in a shard, or they are of another codec")
    if not stack:
        _check_every_tile(opened, name, math.prod(map(_parts, shape, chunk)))


def _check_every_tile(opened: h5d.DatasetID, name: str, count: int) -> None:
    """As many as there must be, each with its codec: one without is taken as it is, of any length.

    Their content is left to Blosc2, which gave an error for each of 30,000 damaged ones, or pixels.
    """
    skipped: list[int] = []
    opened.chunk_iter(lambda tile: skipped.append(tile.filter_mask))
    if len(skipped) != count or any(skipped):
        raise ValueError(f"{name} lacks tiles, or some of them lack their codec")


def _parts(side: int, tile: int) -> int:
    return -(-side // tile)


def _check_extent(file: h5py.File, opened: h5d.DatasetID, name: str) -> None:
    """Every value of it lies in the file: a shape alone can ask for any amount of memory."""
    size = math.prod(opened.shape) * opened.get_type().get_size()
    start = opened.get_offset() or 0
    if opened.get_storage_size() != size or start + size > file.id.get_filesize():
        raise ValueError(f"{name} is not wholly in the file")
