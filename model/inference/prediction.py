"""Photographs and trimaps to files: alphas, foreground colours, cut-outs, new compositions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...arrays import UInt8Image
from ...composer.pixels.trimap import UNKNOWN
from ...composer.sources.images import read_photograph
from ...errors import DimtoolError, WrongUseError
from ...files import file_sha256, part_of, stranger_in
from ...names import stem
from ...progress import Reporter
from ...text import count
from .foreground import check_estimator, contact_sheet, cut_out, estimate_foreground, put_onto, sheet_row
from .matter import Alpha, Matter, fingerprint, load, to_uint8, to_uint16
from .pairs import Failure, Pair, PairError, find_pairs, read_pair
from .records import Found, Recipe, State, holds_results, look, write_result

SHEET_NAME = "sheet.png"
SHEET_ROWS = 40
KINDS = ("alpha", "foreground", "cutout", "composite")


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is written, in sub-folders of `folder`, under each photograph's stem; and `folder`/sheet.png.

    alpha/: grey, of 8 or 16 bits, always. foreground/: RGB. cutout/: RGBA. composite/: RGB, before the
    picture `onto`.
    """

    folder: Path
    bits: Literal[8, 16] = 8
    foreground: bool = False
    cutout: bool = False
    onto: Path | None = None
    sheet: bool = False

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
    """What came of a run: files written, photographs whose files were there, those that failed.

    remade: photographs of the written ones whose files were there, made of something else.
    """

    written: tuple[Path, ...]
    kept: int
    remade: int
    failures: tuple[Failure, ...]
    sheet: Path | None = None

    def text(self, folder: Path) -> str:
        """For people."""
        lines = [f"{folder}: {count(len(self.written), 'file')} written"]
        if self.remade:
            lines[0] += f", {count(self.remade, 'image')} made anew for what changed"
        if self.kept:
            lines[0] += f", {count(self.kept, 'image')} kept from before (--overwrite makes them anew)"
        if self.sheet is not None:
            lines.append(str(self.sheet))
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

    A result that is there is kept where it was made of the same image, trimap, weights and options, and made
    anew where any of them is another. threshold: take trimaps of other values than 0, 128 and 255.
    overwrite: make all files anew. max_memory: as in `Matter.matte`. What cannot be read, lacks its trimap,
    or would take the place of a file that is no result of ours, is a Failure and the rest goes on. Raises
    WrongUseError, SourceError, CheckpointError or MissingExtraError before it begins.
    """
    pairs, failures, notes = find_pairs(image, trimap)
    _refuse_inputs_as_outputs(pairs, outputs)
    _refuse_foreign(outputs.folder)
    mattes = _Mattes(load(checkpoint), outputs, threshold=threshold, max_memory=max_memory)
    for note in (*notes, *mattes.notes):
        reporter.note(note)
    reporter.planned(len(pairs))
    done = []
    for pair in pairs:
        try:
            done.append(mattes.make(pair, reporter, overwrite=overwrite))
        except DimtoolError as error:
            failures.append(Failure(image=pair.image, error=str(error)))
        reporter.finished(pair)
    sheet = None
    if outputs.sheet and done:
        if len(done) > SHEET_ROWS:
            reporter.note(f"the sheet shows the first {SHEET_ROWS} of {count(len(done), 'image')}")
        sheet = _write_sheet([each.pair for each in done[:SHEET_ROWS]], outputs, threshold=threshold)
    return Summary(
        written=tuple(path for each in done for path in each.written),
        kept=sum(not each.written for each in done),
        remade=sum(each.remade for each in done),
        failures=tuple(failures),
        sheet=sheet,
    )


@dataclass(frozen=True)
class _Done:
    """Of one photograph: the files written, none where they were there; whether in place of others."""

    pair: Pair
    written: tuple[Path, ...]
    remade: bool


class _Mattes:
    """A model, and what is made with it."""

    def __init__(self, matter: Matter, outputs: Outputs, *, threshold: bool, max_memory: int | None) -> None:
        self._matter = matter
        self._outputs = outputs
        self._threshold = threshold
        self._max_memory = max_memory
        self._model = fingerprint(matter.model)
        self._background = None if outputs.onto is None else read_photograph(outputs.onto)
        self.notes = check_estimator() if len(outputs.kinds) > 1 or outputs.sheet else []
        for kind in outputs.kinds:
            (outputs.folder / kind).mkdir(parents=True, exist_ok=True)

    def make(self, pair: Pair, reporter: Reporter[Pair], *, overwrite: bool) -> _Done:
        """Matte one photograph where its files are not there yet. Raises DimtoolError."""
        recipe = self._recipe(pair)
        paths = self._outputs.paths(pair.image)
        found = {path: look(path, recipe.of(kind)) for kind, path in paths.items()}
        states = {each.state for each in found.values()}
        if states == {State.CURRENT} and not overwrite:
            return _Done(pair, (), remade=False)
        if not overwrite:
            _refuse_to_replace(found)
        self._write(pair, recipe, paths, reporter)
        return _Done(pair, tuple(paths.values()), remade=State.OUTDATED in states)

    def _recipe(self, pair: Pair) -> Recipe:
        return Recipe(
            image=_digest(pair.image),
            trimap=_digest(pair.trimap),
            threshold=self._threshold,
            model=self._model,
            bits=self._outputs.bits,
            onto="" if self._background is None else self._background.file_sha256.hex(),
        )

    def _write(self, pair: Pair, recipe: Recipe, paths: dict[str, Path], reporter: Reporter[Pair]) -> None:
        image, trimap = read_pair(pair, threshold=self._threshold)
        try:
            alpha = self._matter.matte(image, trimap, max_memory=self._max_memory)
        except DimtoolError as error:
            raise PairError(f"{pair.image} is not matted: {error}") from error
        for kind, pixels in self._pictures(image, alpha).items():
            write_result(paths[kind], pixels, recipe.of(kind))
        if not (trimap == UNKNOWN).any():
            reporter.note(f"{pair.trimap} has no unknown pixel (128): the alpha is the trimap")

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
                pictures["composite"] = put_onto(foreground, alpha, self._background.pixels)
        return pictures


def _digest(path: Path) -> str:
    """Of a file's bytes. Raises PairError; a pipe, which can be read but once, is none to begin with."""
    if not path.is_file():
        raise PairError(f"{path} is no file: give a picture, or a folder of them")
    try:
        return file_sha256(path)
    except OSError as error:
        raise PairError(f"{path} cannot be read ({error.strerror}): check it") from error


def _write_sheet(pairs: Sequence[Pair], outputs: Outputs, *, threshold: bool) -> Path:
    """Of what is there now, made in this run or before."""
    rows = []
    for pair in pairs:
        image, trimap = read_pair(pair, threshold=threshold)
        with Image.open(outputs.paths(pair.image)["alpha"]) as picture:
            alpha = np.asarray(picture)
        shares = (alpha / np.iinfo(alpha.dtype).max).astype(np.float32)
        rows.append(sheet_row(pair.image.name, image, trimap, shares))
    path = outputs.folder / SHEET_NAME
    with part_of(path) as part:
        contact_sheet(rows).save(part, "PNG")
    return path


def _refuse_to_replace(found: dict[Path, Found]) -> None:
    for path, each in found.items():
        if each.state is State.FOREIGN:
            raise PairError(
                f"{path} is not as dimtool predict wrote it (another program's, painted over, or damaged): "
                "move it, give another --out, or --overwrite"
            )


def _refuse_foreign(folder: Path) -> None:
    stranger = stranger_in(folder, besides=(*KINDS, SHEET_NAME))
    if stranger is not None and not holds_results(folder / "alpha"):
        raise WrongUseError(
            f"{folder} holds {stranger.name} and no mattes of ours: give another --out, an empty or a new "
            "folder"
        )


def _refuse_inputs_as_outputs(pairs: Iterable[Pair], outputs: Outputs) -> None:
    inputs = {path.resolve() for pair in pairs for path in pair}
    for pair in pairs:
        for path in outputs.paths(pair.image).values():
            if path.resolve() in inputs:
                raise WrongUseError(f"{path} would be read and written: give another --out")
