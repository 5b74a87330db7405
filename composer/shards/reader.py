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
from ...files import refuse_special
from ...storage.remote import Parts, Place
from ...text import first_line
from ..sources.reading import Reading
from .decoder import read_window
from .layout import DATASETS, ShardError, ShardHeader
from .structure import BROKEN, check_members, check_version, open_dataset, read_attribute
from .windows import WHOLE, Mask, TileGrid, Window


class Shard:
    """A shard opened for reading: the header, and any window of any array. Close it, or use it in `with`.

    Windows are (rows, columns) slices; only the tiles that they touch are read and decoded. Raises
    ShardError where the file is no shard of a version that this code knows. Not to be carried through a
    fork: open it anew in each process.

    path: of the file, or in an object store, of which only the parts that are read travel: enough for a look
    at the header. copied_to: where a copy of it lies here; `path` stays what messages name.
    """

    def __init__(self, path: Place, *, copied_to: Path | None = None) -> None:
        self.path = path
        self._datasets: dict[str, h5py.Dataset] = {}
        self._sides: dict[str, int] = {}
        try:
            file = _openable(copied_to or path)
            # Finished shards never change, and network file systems often have no locks. A cache of chunks
            # would hold 30 MB a shard, of which no reader here wants anything a second time.
            self._file = h5py.File(file, "r", locking=False, rdcc_nbytes=0)
        except OSError as error:
            other = "it is no shard, name one, or a folder of them"
            advice = "build it again" if path.name.endswith(".h5") else other
            raise ShardError(f"{path} cannot be opened ({first_line(error)}): {advice}") from error
        try:
            self._attributes = self._read_attributes()
        except BROKEN as error:
            self._file.close()
            raise self._not_whole(error) from error

    def _read_attributes(self) -> dict[str, Any]:
        """What the header says, but for the names of the backgrounds, which readers of pixels never need."""
        check_version(self._file)
        check_members(self._file)
        names = ("split", "index", "foreground", "background_radius")
        seldom = ("label", "reading", "first")
        more = {name: self._attribute(name) for name in seldom if name in self._file.attrs}
        reading = Reading.of(json.loads(more.get("reading", "{}")))
        values = {name: self._attribute(name) for name in names}
        label = more.get("label", "")
        if "\0" in values["foreground"] + label or (label and Path(label).name != label):
            raise ValueError("its name or label can name no picture")  # and a label would lead elsewhere
        if (first := more.get("first", 0)) < 0:
            raise ValueError("its first background has a number below 0")
        return {**values, "label": label, "reading": reading, "first": first}

    def _attribute(self, name: str) -> Any:
        return read_attribute(self._file, name)

    @cached_property
    def header(self) -> ShardHeader:
        """What the shard is of."""
        try:
            names = tuple(name.decode() for name in self.dataset("background_name")[:].tolist())
        except BROKEN as error:
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
            self.dataset("alpha")
        return self._sides["h"], self._sides["w"]

    @cached_property
    def count(self) -> int:
        """How many composites there are, without reading their names."""
        with self._reading("composite"):
            self.dataset("composite")
        return self._sides["n"]

    @cached_property
    def versions(self) -> dict[str, str]:
        """Versions of dimtool and of the decoders that built the shard."""
        with self._reading("versions"):
            versions = json.loads(self._attribute("versions"))
            if not isinstance(versions, dict) or not all(isinstance(each, str) for each in versions.values()):
                raise ValueError("they are no names and versions")
        return versions

    @property
    def datasets(self) -> dict[str, h5py.Dataset]:
        """The HDF5 datasets by name. Raises ShardError where one is missing or not as it must be."""
        found = {}
        for name in sorted(DATASETS):
            with self._reading(name):
                found[name] = self.dataset(name)
        return found

    def dataset(self, name: str) -> h5py.Dataset:
        """One of them, opened once: opening one anew reads its chunk index again.

        Looked at before: HDF5 would open other files for one that says so, and run any filter over it.
        Raises KeyError where it is missing, ValueError where it is not as it must be.
        """
        if name not in self._datasets:
            self._datasets[name] = open_dataset(self._file, name, self._sides)
        return self._datasets[name]

    def storage(self, name: str) -> tuple[int, int]:
        """How many tiles a dataset has (0 where it is not cut into any), and the bytes that they take."""
        with self._reading(name):
            data = self.dataset(name).id
            return data.get_num_chunks() if DATASETS[name].codec else 0, data.get_storage_size()

    @property
    def digests(self) -> NDArray[np.uint8]:
        """(n, 2, 32): BLAKE3 of each decoded composite and background."""
        return self._read("digest", ())

    @property
    def source_digests(self) -> dict[str, NDArray[np.uint8]]:
        """SHA-256 of the file and BLAKE3 of its decoded pixels.

        `foreground` and `alpha` are (2, 32), `background` is (n, 2, 32).
        """
        with self._reading("sources"):
            return {
                "foreground": self._attribute("foreground_source"),
                "alpha": self._attribute("alpha_source"),
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
        return self._window("composite", window, i)

    def background(self, i: int, window: Window = WHOLE) -> UInt8Image:
        """A window of background `i`, (h, w, 3): 0 where it is not kept."""
        return self._window("background", window, i)

    def foreground(self, window: Window = WHOLE) -> UInt8Image:
        """A window of the foreground's colours, (h, w, 3)."""
        return self._window("foreground", window)

    def alpha(self, window: Window = WHOLE) -> UInt8Mask:
        """A window of the matte, (h, w)."""
        return self._window("alpha", window)

    def distance(self, window: Window = WHOLE) -> UInt8Mask:
        """A window of the distance to the transition region, (h, w)."""
        return self._window("distance", window)

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
            data, sparse = self.dataset(name), name == "background"
            if layer is not None and not -self._sides["n"] <= layer < self._sides["n"]:
                raise IndexError(f"{name} {layer} of {self._sides['n']} in {self.path}")
            place = layer if layer is None else layer % self._sides["n"]
            read_window(data, into, grid, layer=place, tiles=tiles, sparse=sparse)

    def _window(self, name: str, window: Window, layer: int | None = None) -> NDArray[np.uint8]:
        with self._reading(name):
            self.dataset(name)
        shape = self._sides["h"], self._sides["w"]
        sides = [len(range(*part.indices(side))) for part, side in zip(window, shape, strict=True)]
        colours = (3,) if DATASETS[name].shape[-1] == 3 else ()
        into = np.zeros((*sides, *colours), np.uint8)
        if into.size:
            self.fill(into, name, TileGrid(*shape, window), layer=layer)
        return into

    def _read(self, name: str, where: tuple[Any, ...]) -> NDArray[Any]:
        with self._reading(f"{name}{list(where)}" if where else name):
            return np.asarray(self.dataset(name)[where])

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """What HDF5 finds wrong in the block becomes a ShardError that names the file and `what`."""
        try:
            yield
        except ShardError:
            raise
        except BROKEN as error:
            raise ShardError(
                f"{self.path}: {what} cannot be read ({first_line(error)}): run `dimtool verify-composites`"
            ) from error

    def close(self) -> None:
        self._file.close()


def _openable(place: Place) -> Path | Parts:
    """What HDF5 takes. Raises OSError, StorageError."""
    if isinstance(place, Path):
        refuse_special(place)
        return place
    return place.opened()
