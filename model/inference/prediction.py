"""Photographs and trimaps to files: alphas, foreground colours, cut-outs, new compositions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from PIL import Image

from ...arrays import UInt8Image
from ...composer.pixels.trimap import UNKNOWN
from ...composer.sources.images import read_photograph
from ...errors import DimtoolError, WrongUseError
from ...files import part_of
from ...names import stem
from ...progress import Reporter
from ...text import count
from .foreground import check_estimator, cut_out, estimate_foreground, put_onto
from .matter import Alpha, Matter, load, to_uint8, to_uint16
from .pairs import Failure, Pair, PairError, find_pairs, read_pair


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is written, in sub-folders of `folder`, under each photograph's stem.

    alpha/: grey, of 8 or 16 bits, always. foreground/: RGB. cutout/: RGBA. composite/: RGB, before the
    picture `onto`.
    """

    folder: Path
    bits: Literal[8, 16] = 8
    foreground: bool = False
    cutout: bool = False
    onto: Path | None = None

    @property
    def kinds(self) -> list[str]:
        """The sub-folders."""
        asked = {"foreground": self.foreground, "cutout": self.cutout, "composite": self.onto is not None}
        return ["alpha", *(kind for kind, is_asked in asked.items() if is_asked)]

    def paths(self, image: Path) -> dict[str, Path]:
        """The files of one photograph by kind."""
        return {kind: self.folder / kind / f"{stem(image)}.png" for kind in self.kinds}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What came of a run: files written, photographs whose files were there, those that failed."""

    written: tuple[Path, ...]
    kept: int
    failures: tuple[Failure, ...]

    def text(self, folder: Path) -> str:
        """For people."""
        lines = [f"{folder}: {count(len(self.written), 'file')} written"]
        if self.kept:
            lines[0] += f", {count(self.kept, 'image')} kept from before (--overwrite makes them anew)"
        if self.failures:
            lines.append(f"{count(len(self.failures), 'image')} failed:")
            lines += [f"  {failure.error}" for failure in self.failures]
        return "\n".join(lines)


def predict(
    checkpoint: Path,
    image: Path,
    trimap: Path,
    outputs: Outputs,
    *,
    reporter: Reporter[Pair],
    threshold: bool = False,
    overwrite: bool = False,
    max_memory: int | None = None,
) -> Summary:
    """Matte a photograph, or each of a folder with the trimap of the same stem in another folder.

    threshold: take trimaps of other values than 0, 128 and 255. overwrite: make files anew that are there.
    max_memory: as in `Matter.matte`. What cannot be read, or lacks its trimap, is a Failure and the rest
    goes on. Raises WrongUseError, SourceError, CheckpointError or MissingExtraError before it begins.
    """
    pairs, failures, notes = find_pairs(image, trimap)
    _refuse_inputs_as_outputs(pairs, outputs)
    for note in notes:
        reporter.note(note)
    left = [pair for pair in pairs if overwrite or not _all_there(outputs, pair)]
    written: list[Path] = []
    if left:
        mattes = _Mattes(load(checkpoint), outputs, threshold=threshold, max_memory=max_memory)
        written, failed = _write_all(mattes, left, reporter)
        failures += failed
    return Summary(written=tuple(written), kept=len(pairs) - len(left), failures=tuple(failures))


def _write_all(
    mattes: _Mattes, pairs: Sequence[Pair], reporter: Reporter[Pair]
) -> tuple[list[Path], list[Failure]]:
    written, failures = [], []
    reporter.planned(len(pairs))
    for pair in pairs:
        try:
            paths, notes = mattes.write(pair)
        except DimtoolError as error:
            failures.append(Failure(image=pair.image, error=str(error)))
        else:
            written += paths
            for note in notes:
                reporter.note(note)
        reporter.finished(pair)
    return written, failures


class _Mattes:
    """A model, and what is made with it."""

    def __init__(self, matter: Matter, outputs: Outputs, *, threshold: bool, max_memory: int | None) -> None:
        self._matter = matter
        self._outputs = outputs
        self._threshold = threshold
        self._max_memory = max_memory
        self._background = None if outputs.onto is None else read_photograph(outputs.onto).pixels
        if len(outputs.kinds) > 1:
            check_estimator()
        for kind in outputs.kinds:
            (outputs.folder / kind).mkdir(parents=True, exist_ok=True)

    def write(self, pair: Pair) -> tuple[list[Path], list[str]]:
        """Matte one photograph; the files written, and what to say of it. Raises DimtoolError."""
        image, trimap = read_pair(pair, threshold=self._threshold)
        try:
            alpha = self._matter.matte(image, trimap, max_memory=self._max_memory)
        except DimtoolError as error:
            raise PairError(f"{pair.image} is not matted: {error}") from error
        paths = self._outputs.paths(pair.image)
        for kind, pixels in self._pictures(image, alpha).items():
            with part_of(paths[kind]) as part:
                Image.fromarray(pixels).save(part, "PNG")
        known = not (trimap == UNKNOWN).any()
        notes = [f"{pair.trimap} has no unknown pixel (128): the alpha is the trimap"] if known else []
        return list(paths.values()), notes

    def _pictures(self, image: UInt8Image, alpha: Alpha) -> dict[str, NDArray[Any]]:
        grey = to_uint16 if self._outputs.bits == 16 else to_uint8
        pictures: dict[str, NDArray[Any]] = {"alpha": grey(alpha)}
        if len(self._outputs.kinds) > 1:
            foreground = estimate_foreground(image, alpha)
            if self._outputs.foreground:
                pictures["foreground"] = foreground
            if self._outputs.cutout:
                pictures["cutout"] = cut_out(foreground, alpha)
            if self._background is not None:
                pictures["composite"] = put_onto(foreground, alpha, self._background)
        return pictures


def _refuse_inputs_as_outputs(pairs: Iterable[Pair], outputs: Outputs) -> None:
    inputs = {path.resolve() for pair in pairs for path in pair}
    for pair in pairs:
        for path in outputs.paths(pair.image).values():
            if path.resolve() in inputs:
                raise WrongUseError(f"{path} would be read and written: give another --out")


def _all_there(outputs: Outputs, pair: Pair) -> bool:
    return all(path.exists() for path in outputs.paths(pair.image).values())
