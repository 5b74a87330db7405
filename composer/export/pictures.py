"""One shard's pictures: what the layout asks for and is not there yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ...arrays import UInt8Image, UInt8Mask
from ...files import part_of
from ...names import stem
from ...storage.remote import Place
from ..pixels.trimap import trimap_of
from ..shards.dataset import open_shard
from ..shards.index import INDEX_NAME, ShardRecord
from ..shards.layout import ShardError
from ..shards.reader import Shard
from ..sources.images import pixel_digest
from ..sources.manifest import ForegroundEntry
from .backgrounds import Backgrounds, has_holes, holes_mark
from .layouts import Layout, Role
from .links import share

ADVICE = "run `dimtool verify-composites --repair`"
# zlib's fastest level: a third of the default's time for a tenth more bytes.
_PNG_LEVEL = 1
_MATTE: tuple[Role, ...] = ("fg", "alpha")  # of the foreground, the same for all its composites


@dataclass(frozen=True, kw_only=True)
class ExportJob:
    """Export one shard; the trimaps' unknown region reaches `trimap_radius` pixels to either side.

    entry: its sources, for backgrounds that are whole; None where they are not known. scratch: for
    unfinished pictures; once it is gone, so is the export.
    """

    folder: Place
    record: ShardRecord
    out: Path
    scratch: Path
    trimap_radius: int
    layout: Layout
    entry: ForegroundEntry | None = None

    @property
    def name(self) -> str:
        """What the shard's pictures are named after: as the index says, which was looked at."""
        return self.record.label or stem(self.record.foreground)

    @property
    def numbers(self) -> range:
        """Those of the shard's composites among the foreground's."""
        return range(self.record.first, self.record.first + self.record.composites)

    def path(self, role: Role, number: int) -> Path:
        """Where a picture of composite `number` goes."""
        return self.out / self.layout.path(role, self.name, number)


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What one job did: `composites` in the shard `file`, pictures `written` and those `kept` from before.

    holes: backgrounds of it that are not whole. error: why the rest of it was not written, in one line;
    empty where all is there.
    """

    file: str
    composites: int
    written: int
    kept: int
    holes: int = 0
    error: str = ""


def export_shard(job: ExportJob) -> Exported:
    """Write the pictures of one shard that are not there yet; what is wrong with it is told, not raised."""
    record, writer = job.record, _Writer(job)
    try:
        with open_shard(job.folder, record) as shard:
            _refuse_another(shard, record)
            writer.write(shard)
    except ShardError as problem:
        return Exported(
            file=record.file, composites=0, written=writer.written, kept=0, holes=0, error=str(problem)
        )
    return Exported(
        file=record.file,
        composites=record.composites,
        written=writer.written,
        kept=writer.kept,
        holes=writer.holes,
    )


def _refuse_another(shard: Shard, record: ShardRecord) -> None:
    header = shard.header
    there = (header.foreground, header.label, header.first, len(shard), *shard.shape)
    listed = (record.foreground, record.label, record.first, record.composites, record.height, record.width)
    if there != listed:
        raise ShardError(f"{shard.path} is not the shard that {INDEX_NAME} names: {ADVICE}")


class _Writer:
    """Writes a shard's pictures and counts them. Each is held against its digest before it is written."""

    def __init__(self, job: ExportJob) -> None:
        self.written = self.kept = self.holes = 0
        self._job = job
        self._layout = job.layout

    def write(self, shard: Shard) -> None:
        """All of them. Raises ShardError where the shard is damaged."""
        first = not self._job.record.first
        pixels = self._matte(shard)
        # Every piece sees that the foreground's own are there, the further ones last: the first should be
        # who writes them.
        if first:
            self._write_shared(pixels)
        self._write_composites(shard, pixels)
        if not first:
            self._write_shared(pixels)

    @staticmethod
    def _matte(shard: Shard) -> dict[Role, UInt8Image | UInt8Mask]:
        digests = shard.source_digests
        pixels: dict[Role, UInt8Image | UInt8Mask] = {"fg": shard.foreground(), "alpha": shard.alpha()}
        for role, what in zip(_MATTE, ("foreground", "alpha"), strict=True):
            _refuse_other_pixels(shard, what, pixels[role], digests[what][1])
        return pixels

    def _write_shared(self, pixels: dict[Role, UInt8Image | UInt8Mask]) -> None:
        """What is there once a foreground; the further pieces count it only where they write it."""
        for role in _MATTE:
            if role in self._layout.folders and role not in self._layout.by_composite:
                path = self._job.path(role, 0)
                if not path.exists():
                    self._save(pixels[role], path)
                elif not self._job.record.first:
                    self.kept += 1

    def _write_composites(self, shard: Shard, matte: dict[Role, UInt8Image | UInt8Mask]) -> None:
        backgrounds = Backgrounds(shard, shard.alpha(), self._job.entry)
        radius = self._job.trimap_radius
        trimap = trimap_of(shard.alpha(), shard.distance(), radius, radius)
        for i, number in enumerate(self._job.numbers):
            paths = self._paths(number)
            missing = {role: path for role, path in paths.items() if self._is_to_write(role, path)}
            self.kept += len(paths) - len(missing)
            for role in _MATTE:
                if role in missing:
                    self._name_again(matte[role], self._job.path(role, self._job.numbers[0]), missing[role])
            if "trimap" in missing:
                self._save(trimap, missing["trimap"])
            if missing.keys() & {"merged", "bg"}:
                self._write_layers(shard, i, backgrounds, missing)
            self.holes += "bg" in paths and has_holes(paths["bg"])

    def _paths(self, number: int) -> dict[Role, Path]:
        """The pictures that composite `number` has under a name of its own."""
        roles = (role for role in self._layout.folders if role in self._layout.by_composite)
        return {role: self._job.path(role, number) for role in roles}

    def _is_to_write(self, role: Role, path: Path) -> bool:
        """Not there; or a background with holes, where it may become whole."""
        return not path.exists() or (role == "bg" and self._job.entry is not None and has_holes(path))

    def _name_again(self, pixels: UInt8Image | UInt8Mask, first: Path, path: Path) -> None:
        """The foreground's picture under a composite's name: its bytes once, where the file system can."""
        if not first.exists():
            self._save(pixels, first)
        if path != first:
            share(first, path, self._job.scratch)
            self.written += 1

    def _write_layers(
        self, shard: Shard, i: int, backgrounds: Backgrounds, missing: dict[Role, Path]
    ) -> None:
        layer, stored, digest = shard.composite(i), shard.background(i), shard.digests[i]
        _refuse_other_pixels(shard, f"composite {i}", layer, digest[0])
        _refuse_other_pixels(shard, f"background {i}", stored, digest[1])
        if "merged" in missing:
            self._save(layer, missing["merged"])
        if "bg" in missing:
            picture, whole = backgrounds.picture(i, stored, layer)
            if whole or not missing["bg"].exists():
                self._save(picture, missing["bg"], None if whole else holes_mark())
            else:
                self.kept += 1

    def _save(self, pixels: UInt8Image | UInt8Mask, path: Path, mark: PngInfo | None = None) -> None:
        with part_of(path, self._job.scratch) as part:
            Image.fromarray(pixels).save(part, format="PNG", compress_level=_PNG_LEVEL, pnginfo=mark)
        self.written += 1


def _refuse_other_pixels(
    shard: Shard, what: str, pixels: NDArray[np.uint8], digest: NDArray[np.uint8]
) -> None:
    if pixel_digest(pixels) != digest.tobytes():
        raise ShardError(f"{shard.path}: {what} does not have the digest written with it: {ADVICE}")
