"""The page that an export leaves beside its pictures: what they are, and how their trainer takes them."""

from __future__ import annotations

from collections.abc import Mapping

from ...text import count
from ...version import __version__
from ..shards.layout import BACKGROUND_RADIUS
from .layouts import Layout, LayoutName

_WHAT = {
    "merged": "the composites, bit for bit as the official code makes them",
    "bg": "the backgrounds as they were fitted to the foregrounds",
    "trimap": "trimaps: 0, 128 (unknown), 255",
    "fg": "the foregrounds' colours",
    "alpha": "the mattes",
}


def readme(layout: Layout, split: str, *, composites: int, holes: int, trimap_radius: int) -> str:
    """The page in Markdown."""
    folders = [f"| `{folder}/` | {_WHAT[role]} |" for role, folder in layout.folders.items()]
    lines = [
        f"# {count(composites, 'composite')} of the {split} split",
        "",
        f"Written by `dimtool export-images --layout {layout.name}` (dimtool {__version__}); PNG, lossless. "
        "Paths are below the exported folder, OUT.",
        "",
        "| folder | what |",
        "|---|---|",
        *folders,
        "",
        _USE[layout.name].format(root=layout.root, options=_HUOCHAITIANTANG[split == "train"]),
    ]
    if "trimap" in layout.folders:
        lines += [
            "",
            f"The trimaps' unknown region reaches {trimap_radius} pixels to either side of the edge.",
        ]
    if "bg" in layout.folders:
        lines += ["", _of_backgrounds(composites, holes)]
    return "\n".join(lines) + "\n"


def _of_backgrounds(composites: int, holes: int) -> str:
    if not holes:
        return "The backgrounds are whole."
    return (
        f"{holes:,} of {count(composites, 'background')} are black where the foreground is opaque and its "
        f"edge is more than {BACKGROUND_RADIUS} pixels away: no composite shows them there, and no loss over "
        "the unknown region does. Do not composite other foregrounds over them. The same command, with the "
        "source images at hand (`--sources`), makes them whole. Each says so in its PNG comment."
    )


_USE: Mapping[LayoutName, str] = {
    "folders": "`annotations.json` names them for mmagic's AdobeComp1kDataset: data_root is OUT, ann_file is "
    "annotations.json.",
    "mmagic": "In mmagic's configuration data_root is OUT; ann_file is as it stands for train and test, "
    "val_list.json for val.",
    "huochaitiantang": "In train.sh and deploy.sh DATA_ROOT is OUT; {options} are the folders of {root}.",
    "indexnet": "hltrainval.py takes --data-dir OUT --data-list OUT/lists/train.txt --data-val-list "
    "OUT/lists/test.txt.",
    "gca": "In the configuration `merged`, `alpha` and `trimap` (test_merged, test_alpha, test_trimap of "
    "[data]) are the three folders, with OUT before them.",
}

_HUOCHAITIANTANG = {
    True: "fgDir, alphaDir, bgDir and imgDir",
    False: "testImgDir, testTrimapDir and testAlphaDir",
}
