"""How the published matting data sets lie on the disk: their folders and counts, from their documentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SplitLayout:
    """A split below the data set's root: where its foregrounds and mattes lie, and how many it has.

    fg, alpha: the folders, the likelier first; several spellings are about. foregrounds: as published; 0
    where that is the user's own.
    """

    fg: tuple[str, ...]
    alpha: tuple[str, ...]
    foregrounds: int = 0


@dataclass(frozen=True, kw_only=True)
class SetLayout:
    """A data set. note: what is to be known of it, above all of what its splits share with other sets."""

    title: str
    splits: Mapping[str, SplitLayout]
    note: str = ""


_PHOTOGRAPHS = (
    "its images are photographs, not foregrounds with colours of their own: composites of them keep a rim of "
    "the old background; scores on it are published on the photographs as they are"
)

LAYOUTS: Mapping[str, SetLayout] = {
    "distinctions646": SetLayout(
        title="Distinctions-646 (Qiao et al., CVPR 2020)",
        splits={
            "train": SplitLayout(
                fg=("Train/FG", "train/fg", "Train/fg"),
                alpha=("Train/GT", "train/gt", "train/alpha", "Train/alpha"),
                foregrounds=596,
            ),
            "test": SplitLayout(
                fg=("Test/FG", "test/fg", "Test/fg"),
                alpha=("Test/GT", "test/gt", "test/alpha", "Test/alpha"),
                foregrounds=50,
            ),
        },
        note="published scores are on its 50 test foregrounds over 20 VOC backgrounds each; the pairing is "
        "not given out, so others' composites are not yours",
    ),
    "aim500": SetLayout(
        title="AIM-500 (Li et al., IJCAI 2021)",
        splits={"test": SplitLayout(fg=("original",), alpha=("mask",), foregrounds=500)},
        note=f"a test set alone; {_PHOTOGRAPHS}",
    ),
    "am2k": SetLayout(
        title="AM-2k (Li et al., IJCV 2022)",
        splits={
            "train": SplitLayout(fg=("train/fg", "train/original"), alpha=("train/mask",), foregrounds=1800),
            "test": SplitLayout(
                fg=("validation/fg", "validation/original"), alpha=("validation/mask",), foregrounds=200
            ),
        },
        note=f"its validation images are its test set; without a folder fg/, {_PHOTOGRAPHS}",
    ),
    "p3m": SetLayout(
        title="P3M-10k (Li et al., ACM MM 2021)",
        splits={
            "train": SplitLayout(
                fg=("train/fg", "train/blurred_image"), alpha=("train/mask",), foregrounds=9421
            ),
            "val": SplitLayout(
                fg=("validation/P3M-500-P/blurred_image",),
                alpha=("validation/P3M-500-P/mask",),
                foregrounds=500,
            ),
            "test": SplitLayout(
                fg=("validation/P3M-500-NP/original_image",),
                alpha=("validation/P3M-500-NP/mask",),
                foregrounds=500,
            ),
        },
        note=f"val is P3M-500-P, test P3M-500-NP; {_PHOTOGRAPHS}",
    ),
    "simd": SetLayout(
        title="SIMD (Sun et al., CVPR 2021)",
        splits={
            "train": SplitLayout(fg=("train",), alpha=("train",), foregrounds=726),
            "test": SplitLayout(fg=("test",), alpha=("test",), foregrounds=89),
        },
        note="a folder a class, each with fg/ and alpha/; it takes foregrounds of other sets, so verify it "
        "together with the set that you test on: what both have is found",
    ),
    "folders": SetLayout(
        title="folders of your own",
        splits={
            split: SplitLayout(
                fg=(f"{split}/fg", f"{split}/image", "fg"), alpha=(f"{split}/alpha", f"{split}/mask", "alpha")
            )
            for split in ("train", "val", "test")
        },
    ),
}
