"""The shard file, version 1: one foreground with all its composites. docs/format.md describes it in full."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from ..errors import DimtoolError
from ..version import __version__
from .images import Source, UInt8Image, UInt8Mask, decoder_versions, sha256
from .stream import Stream
from .tiles import TileEncoder, create_image_stack, opaque_tiles, tile_shape, used_tiles
from .windows import WHOLE, Mask, TileGrid, Window

FORMAT = "dimtool-shard"
VERSION = 1
BACKGROUND_RADIUS = 64
SHARED_CODEC = hdf5plugin.Blosc2(cname="lz4hc", clevel=5, filters=hdf5plugin.Blosc2.NOFILTER)


class ShardError(DimtoolError, ValueError):
    """A file is no shard, or a broken one; the message is one line that names it and says what to do."""


@dataclass(frozen=True, kw_only=True)
class ShardHeader:
    """What a shard is of: foreground number `index` of a `split`, over these backgrounds in this order."""

    split: str
    index: int
    foreground: str
    backgrounds: tuple[str, ...]
    background_radius: int = BACKGROUND_RADIUS


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


def current_versions() -> dict[str, str]:
    """Versions of dimtool and of its decoders, as they are written into a shard."""
    return {"dimtool": __version__, **decoder_versions()}


def layout(count: int, height: int, width: int) -> dict[str, tuple[tuple[int | None, ...], str]]:
    """Shape and kind of type of each dataset of a shard; None is a length that the content decides."""
    image, mask = ((height, width, 3), "u1"), ((height, width), "u1")
    return {
        "composite": ((count, height, width, 3), "u1"),
        "background": ((count, height, width, 3), "u1"),
        "foreground": image,
        "alpha": mask,
        "distance": mask,
        "centers": ((None, 2), "u2"),
        "background_name": ((count,), "S"),
        "background_size": ((count, 2), "u2"),
        "background_source": ((count, 2, 32), "u1"),
        "digest": ((count, 2, 32), "u1"),
    }


def _write_attributes(file: h5py.File, header: ShardHeader, matte: Matte) -> None:
    file.attrs["format"] = _fixed(FORMAT)
    file.attrs["version"] = VERSION
    file.attrs["split"] = _fixed(header.split)
    file.attrs["index"] = header.index
    file.attrs["foreground"] = _fixed(header.foreground)
    file.attrs["background_radius"] = header.background_radius
    file.attrs["versions"] = _fixed(json.dumps(current_versions(), sort_keys=True))
    file.attrs["foreground_source"] = matte.foreground.digests
    file.attrs["alpha_source"] = matte.alpha.digests


def _fixed(text: str) -> NDArray[np.bytes_]:
    """A text of fixed length: it lies under a checksum. Other ones lie on a heap, whose damage hangs HDF5."""
    data = text.encode()
    return np.array(data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _write_shared(file: h5py.File, header: ShardHeader, matte: Matte) -> None:
    for name, values in (
        ("foreground", matte.foreground.pixels),
        ("alpha", matte.alpha.pixels),
        ("distance", matte.distance),
    ):
        # Read with each of the composites and stored once: a codec that decodes fast, not the smallest.
        # Zstd takes twice as long. Of damaged tiles, HDF5's Blosc and Bitshuffle crash, and its LZ4 prints.
        chunks = (*tile_shape(*values.shape[:2]), *values.shape[2:])
        file.create_dataset(name, data=values, chunks=chunks, **SHARED_CODEC)
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
        digest[i] = [_row(sha256(layer.composite)), _row(sha256(background))]
        source[i], size[i] = layer.source.digests, layer.source.pixels.shape[:2]
        written += 1
    if written != count:
        raise ValueError(f"{written} layers were given for {count} backgrounds")
    file["digest"], file["background_source"], file["background_size"] = digest, source, size


def _row(digest: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(digest, np.uint8)


class Shard:
    """A shard opened for reading: the header, and any window of any array. Close it, or use it in `with`.

    Windows are (rows, columns) slices; only the tiles that they touch are read and decoded. Raises
    ShardError where the file is no shard of a version that this code knows. Not to be carried through a
    fork: open it anew in each process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._datasets: dict[str, h5py.Dataset] = {}
        try:
            # Finished shards never change, and network file systems often have no locks. A cache of chunks
            # would hold 30 MB a shard, of which no reader here wants anything a second time.
            self._file = h5py.File(path, "r", locking=False, rdcc_nbytes=0)
        except OSError as error:
            raise ShardError(f"{path} cannot be opened ({_first_line(error)}): build it again") from error
        try:
            self._attributes = self._read_attributes()
        except _NOT_WHOLE as error:
            self._file.close()
            raise self._not_whole(error) from error

    def _read_attributes(self) -> dict[str, Any]:
        """What the header says, but for the names of the backgrounds, which readers of pixels never need."""
        attributes = self._file.attrs
        if _text(attributes.get("format")) != FORMAT or attributes["version"] != VERSION:
            raise ValueError(
                f"format {_text(attributes.get('format'))!r}, version {attributes.get('version')!r}; "
                f"this release reads {FORMAT!r}, version {VERSION}"
            )
        return {
            "split": _text(attributes["split"]),
            "index": int(attributes["index"]),
            "foreground": _text(attributes["foreground"]),
            "background_radius": int(attributes["background_radius"]),
        }

    @cached_property
    def header(self) -> ShardHeader:
        """What the shard is of."""
        try:
            names = tuple(name.decode() for name in self._file["background_name"][:].tolist())
        except _NOT_WHOLE as error:
            raise self._not_whole(error) from error
        return ShardHeader(**self._attributes, backgrounds=names)

    @property
    def background_radius(self) -> int:
        """How far from the transition region the background is kept, pixels."""
        return int(self._attributes["background_radius"])

    def _not_whole(self, error: BaseException) -> ShardError:
        return ShardError(f"{self.path} is not a whole shard ({_first_line(error)}): build it again")

    def __enter__(self) -> Shard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """The number of composites."""
        return len(self.header.backgrounds)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(height, width) of every image in the shard."""
        with self._reading("alpha"):
            height, width = self._dataset("alpha").shape
        return int(height), int(width)

    @cached_property
    def versions(self) -> dict[str, str]:
        """Versions of dimtool and of the decoders that built the shard."""
        with self._reading("versions"):
            return dict(json.loads(self._file.attrs["versions"]))

    @cached_property
    def datasets(self) -> dict[str, h5py.Dataset]:
        """The HDF5 datasets by name, opened once: opening one anew reads its chunk index again."""
        # h5py gives None for one that is damaged.
        return {name: data for name, data in self._file.items() if data is not None}

    @property
    def digests(self) -> NDArray[np.uint8]:
        """(n, 2, 32): SHA-256 of each decoded composite and background."""
        return self._read("digest", ())

    @property
    def source_digests(self) -> dict[str, NDArray[np.uint8]]:
        """SHA-256 of file and decoded pixels: `foreground` and `alpha` (2, 32), `background` (n, 2, 32)."""
        with self._reading("sources"):
            return {
                "foreground": np.asarray(self._file.attrs["foreground_source"]),
                "alpha": np.asarray(self._file.attrs["alpha_source"]),
                "background": np.asarray(self._file["background_source"][:]),
            }

    @property
    def background_sizes(self) -> NDArray[np.uint16]:
        """(n, 2) height and width of each background's file."""
        return self._read("background_size", ())

    @cached_property
    def centers(self) -> NDArray[np.uint16]:
        """(m, 2) rows y, x of transition pixels: where training crops are centred."""
        return self._read("centers", ())

    @cached_property
    def center_count(self) -> int:
        """How many centers there are."""
        with self._reading("centers"):
            return int(self._dataset("centers").shape[0])

    def center(self, k: int) -> tuple[int, int]:
        """(y, x) of center `k`, without reading the others."""
        y, x = self._read("centers", (k,))
        return int(y), int(x)

    def composite(self, i: int, window: Window = WHOLE) -> UInt8Image:
        """A window of composite `i`, (h, w, 3)."""
        return self._read("composite", (i, *window))

    def background(self, i: int, window: Window = WHOLE) -> UInt8Image:
        """A window of background `i`, (h, w, 3): 0 where it is not kept."""
        return self._read("background", (i, *window))

    def foreground(self, window: Window = WHOLE) -> UInt8Image:
        """A window of the foreground's colours, (h, w, 3)."""
        return self._read("foreground", window)

    def alpha(self, window: Window = WHOLE) -> UInt8Mask:
        """A window of the matte, (h, w)."""
        return self._read("alpha", window)

    def distance(self, window: Window = WHOLE) -> UInt8Mask:
        """A window of the distance to the transition region, (h, w)."""
        return self._read("distance", window)

    def fill(
        self,
        into: NDArray[np.uint8],
        name: str,
        grid: TileGrid,
        *,
        layer: int | None = None,
        tiles: Mask | None = None,
    ) -> None:
        """Read the window of `grid`, or the chosen tiles of it, into an array of its size.

        name: "alpha", "distance", "foreground", or one of the stacks, "composite" and "background", with
        `layer`, the number of the composite. What is not read stays as it is.
        """
        with self._reading(name):
            grid.read(self._dataset(name), into, tiles=tiles, layer=layer)

    def _read(self, name: str, where: tuple[Any, ...]) -> NDArray[Any]:
        with self._reading(f"{name}{list(where)}" if where else name):
            return np.asarray(self._dataset(name)[where])

    def _dataset(self, name: str) -> h5py.Dataset:
        """A dataset, opened once: opening one anew reads its chunk index again."""
        if name not in self._datasets:
            self._datasets[name] = self._file[name]
        return self._datasets[name]

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """What HDF5 finds wrong in the block becomes a ShardError that names the file and `what`."""
        try:
            yield
        except (KeyError, OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ShardError(
                f"{self.path}: {what} cannot be read ({_first_line(error)}): run `dimtool verify-composites`"
            ) from error

    def close(self) -> None:
        self._file.close()


_NOT_WHOLE = (KeyError, AttributeError, TypeError, ValueError, OSError)  # what a broken file gives


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
