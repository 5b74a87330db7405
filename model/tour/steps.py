"""The commands of the way, in their order, and what each leaves to look at."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from ..logbook.curves import CURVES_NAME
from ..network.release import shipped

PER_TRAIN, PER_TEST = 10, 5  # backgrounds of each foreground, as make-demo lists them


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command: the arguments of `dimtool`, what it is for, the picture and the page that it leaves."""

    title: str
    text: str
    arguments: tuple[str, ...]
    picture: str = ""
    alt: str = ""
    page: str = ""

    @property
    def command(self) -> str:
        """As one would type it."""
        return shlex.join(("dimtool", *self.arguments))


def steps_in(folder: Path, *, size: int, steps: str | None) -> list[Step]:
    """The whole way, all of it in `folder`.

    size: about the longer side of the pictures, in pixels. steps: of each stage of the training,
    if not as many as the recipe has.
    """
    at = {name: str(folder / name) for name in ("set", "shards", "verification", "images", "mattes", "run")}
    train, test = f"{at['shards']}/train", f"{at['shards']}/test"
    return [
        Step(
            title="A data set",
            text="Foregrounds with their mattes and backgrounds, drawn by numbers, in the layout of Adobe's "
            "set: with a set of your own you begin at the next step.",
            arguments=("make-demo", at["set"], "--size", str(size)),
        ),
        _build("Shards to train on", f"{at['set']}/train_fg.txt", PER_TRAIN, train),
        _build("Shards to test on", f"{at['set']}/test_fg.txt", PER_TEST, test),
        Step(
            title="Verification",
            text="Every composite is made again from its sources and compared, bit for bit.",
            arguments=("verify-composites", at["shards"], "--report", at["verification"]),
            page="verification/index.html",
        ),
        Step(
            title="A look at it",
            text="One composite of each foreground.",
            arguments=("inspect", train, "--sheet", str(folder / "contact-sheet.png")),
            picture="contact-sheet.png",
            alt="Composites of the training set",
        ),
        Step(
            title="Training",
            text="All three stages, with an eighth of the paper's channels, from scratch: what training "
            "does and shows, in minutes. No model of use comes of it.",
            arguments=("train", "--shards", train, "--out", at["run"], "--recipe", "demo", *_asked(steps)),
            picture=f"run/{CURVES_NAME}",
            alt="Loss, learning rate and validation over the steps of all stages",
            page="run/index.html",
        ),
        Step(
            title="Scores",
            text="The four official metrics on the test set, for that small network, for the trimap itself "
            "(the trivial answer) and for the model that comes with dimtool. That one was trained on drawn "
            "pictures, too, so this set flatters it: photographs are harder.",
            arguments=(
                *("evaluate", "--shards", test, "--checkpoint", at["run"]),
                *("--beside", f"trimap,{shipped()}", "--out", str(folder / "evaluation")),
            ),
            page="evaluation/index.html",
        ),
        Step(
            title="Photographs and trimaps as files",
            text="The test set as the folders of PNG files that other programs read.",
            arguments=("export-images", test, at["images"]),
        ),
        Step(
            title="Mattes",
            text="The model that comes with dimtool, used as on photographs: the picture, its trimap, alpha, "
            "and the cut-out before checks and colours.",
            arguments=(
                *("predict", f"{at['images']}/merged", f"{at['images']}/trimaps"),
                *("--out", at["mattes"], "--sheet"),
            ),
            picture="mattes/sheet.png",
            alt="Pictures, trimaps, alphas and cut-outs",
        ),
    ]


def _asked(steps: str | None) -> tuple[str, ...]:
    return () if steps is None else ("--steps", steps)


def _build(title: str, fg_list: str, per_fg: int, out: str) -> Step:
    return Step(
        title=title,
        text=f"Each foreground over {per_fg} backgrounds, exactly as the official code composes them, in one "
        "HDF5 file a foreground.",
        arguments=("build-dataset", "--fg-list", fg_list, "--per-fg", str(per_fg), "--out", out),
    )
