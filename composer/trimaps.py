"""Masks or mattes in files -> trimaps in files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..arrays import UInt8Mask
from ..errors import DimtoolError, WrongUseError
from ..files import part_of, stranger_in
from ..names import labels, stem
from ..progress import Reporter
from ..storage.remote import Place
from ..text import count
from .pixels.trimap import UNKNOWN, transition_distance, transition_region, trimap_of
from .sources.folders import FolderIndex
from .sources.images import SourceError
from .sources.mattes import read_alpha, read_prediction
from .sources.reading import Reading


class Radii(NamedTuple):
    """How far the unknown region reaches, in pixels, 0 to 254: into the foreground, into the background."""

    erode: int
    dilate: int


@dataclass(frozen=True, kw_only=True)
class TrimapSummary:
    """Trimaps written, those that are there from before and the same, and why the others are not, in lines.

    unknown: the share of the pixels of all of them that is unknown, 0 to 1.
    """

    written: tuple[Path, ...]
    kept: tuple[Path, ...]
    unknown: float
    errors: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"error: {error}" for error in self.errors]
        there = (*self.written, *self.kept)
        where = f"{there[0]}: " if len(there) == 1 else ""
        kept = f", {len(self.kept):,} there from before" if self.kept else ""
        share = f"; {self.unknown:.1%} of the pixels are unknown" if there else ""
        return "\n".join([*lines, f"{where}{count(len(self.written), 'trimap')} written{kept}{share}"])


def make_trimap(mask: UInt8Mask, radii: Radii) -> UInt8Mask:
    """The trimap, (h, w) of 0, 128, 255, of a mask or a matte (h, w), 0 background to 255 foreground.

    Unknown is what the matte leaves open, 0 < alpha < 255, and both sides of an edge where 255 meets 0;
    and what lies within `radii.erode` pixels of that in the foreground, within `radii.dilate` in the
    background, by Euclidean distance. Raises ValueError for a radius that is not 0 to 254.
    """
    return trimap_of(mask, transition_distance(transition_region(mask)), radii.erode, radii.dilate)


def write_trimaps(
    source: Path,
    out: Path,
    radii: Radii,
    *,
    reading: Reading,
    overwrite: bool,
    reporter: Reporter[Path],
) -> TrimapSummary:
    """Write the trimap of a mask, or of each of a folder, as PNG.

    source: a file, and `out` the trimap's; or a folder, and `out` a folder, where each has its mask's stem.
    What cannot be read, or would take the place of something else, is told in the summary, and the rest goes
    on. Raises WrongUseError, ManifestError.
    """
    jobs = _folder_jobs(source, out) if source.is_dir() else _file_job(source, out)
    reporter.planned(len(jobs))
    written: list[Path] = []
    kept: list[Path] = []
    errors, pixels = [], Counter[bool]()
    for mask, path in jobs:
        try:
            trimap = _trimap_of_file(mask, radii, reading)
            (written if _write(trimap, path, overwrite=overwrite) else kept).append(path)
            unknown = int((trimap == UNKNOWN).sum())
            pixels += Counter({True: unknown, False: trimap.size - unknown})
        except DimtoolError as error:
            errors.append(str(error))
        reporter.finished(path)
    unknown_share = pixels[True] / max(pixels.total(), 1)
    return TrimapSummary(
        written=tuple(written), kept=tuple(kept), unknown=unknown_share, errors=tuple(errors)
    )


def _file_job(source: Path, out: Path) -> list[tuple[Place, Path]]:
    """A mask with its trimap's file."""
    path = out / f"{stem(source)}.png" if out.is_dir() else out
    if path.suffix.lower() != ".png":
        raise WrongUseError(f"{path}: a trimap is a PNG, which changes no pixel: name it .png")
    return [(source, path)]


def _folder_jobs(source: Path, out: Path) -> list[tuple[Place, Path]]:
    """Masks with their trimaps' files, named as composites of listed foregrounds are."""
    if out.is_file():
        raise WrongUseError(
            f"{source} is a folder and {out} a file: name a folder for the trimaps with --out"
        )
    if out.is_dir() and out.samefile(source):
        raise WrongUseError(f"{out} would be read and written: name another folder with --out")
    masks = FolderIndex(source)
    names = sorted(masks.names)
    if not names:
        raise WrongUseError(
            f"{source} holds no image, by its files' suffixes: name a mask, or a folder of them"
        )
    paths = [out / f"{label}.png" for label in labels(names)]
    stranger = stranger_in(out)
    if stranger is not None and not any(path.exists() for path in paths):
        raise WrongUseError(
            f"{out} holds {stranger.name} and no trimap of {source}: give another --out, an empty or a new "
            "folder"
        )
    return [(masks.find(name), path) for name, path in zip(names, paths, strict=True)]


def _trimap_of_file(mask: Place, radii: Radii, reading: Reading) -> UInt8Mask:
    alpha = read_alpha(mask, reading).pixels
    if alpha.min() == alpha.max():
        raise SourceError(f"{mask} is {alpha.min()} everywhere, so it separates nothing: bring another mask")
    return make_trimap(alpha, radii)


def _write(trimap: UInt8Mask, path: Path, *, overwrite: bool) -> bool:
    """Whether it was written; not where the same is there. Raises WrongUseError where something else is."""
    if path.exists() and not overwrite:
        if _holds(path, trimap):
            return False
        raise WrongUseError(f"{path} is there and another picture: give another --out, or --overwrite")
    path.parent.mkdir(parents=True, exist_ok=True)
    with part_of(path) as part:
        Image.fromarray(trimap).save(part, format="PNG")
    return True


def _holds(path: Path, trimap: UInt8Mask) -> bool:
    try:
        return np.array_equal(read_prediction(path).pixels, trimap)
    except SourceError:
        return False
