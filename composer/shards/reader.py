"""A shard file opened for reading: the header, and any window of any array."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ...arrays import UInt8Image, UInt8Mask
from ...text import first_line
from ..sources.reading import Reading
from .layout import FORMAT, VERSION, ShardError, ShardHeader
from .windows import WHOLE, Mask, TileGrid, Window


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


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
            raise ShardError(f"{path} cannot be opened ({first_line(error)}): build it again") from error
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
            "label": _text(attributes.get("label", "")),
            "reading": Reading.of(json.loads(_text(attributes.get("reading", "{}")))),
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
        return ShardError(f"{self.path} is not a whole shard ({first_line(error)}): build it again")

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
            height, width = self.dataset("alpha").shape
        return int(height), int(width)

    @cached_property
    def versions(self) -> dict[str, str]:
        """Versions of dimtool and of the decoders that built the shard."""
        with self._reading("versions"):
            return dict(json.loads(self._file.attrs["versions"]))

    @property
    def datasets(self) -> dict[str, h5py.Dataset]:
        """The HDF5 datasets by name, but for those too damaged to be opened."""
        # h5py lists a damaged one, and has no object for it.
        return {name: self.dataset(name) for name, data in self._file.items() if data is not None}

    def dataset(self, name: str) -> h5py.Dataset:
        """One of them, opened once: opening one anew reads its chunk index again. Raises KeyError."""
        if name not in self._datasets:
            self._datasets[name] = self._file[name]
        return self._datasets[name]

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
                "background": np.asarray(self.dataset("background_source")[:]),
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
            return int(self.dataset("centers").shape[0])

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
            grid.read(self.dataset(name), into, tiles=tiles, layer=layer)

    def _read(self, name: str, where: tuple[Any, ...]) -> NDArray[Any]:
        with self._reading(f"{name}{list(where)}" if where else name):
            return np.asarray(self.dataset(name)[where])

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """What HDF5 finds wrong in the block becomes a ShardError that names the file and `what`."""
        try:
            yield
        except (KeyError, OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ShardError(
                f"{self.path}: {what} cannot be read ({first_line(error)}): run `dimtool verify-composites`"
            ) from error

    def close(self) -> None:
        self._file.close()


_NOT_WHOLE = (KeyError, AttributeError, TypeError, ValueError, OSError)  # what a broken file gives
