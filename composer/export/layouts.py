"""What each trainer reads: which pictures, in which folders, under which names, and the list of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ...errors import WrongUseError

Role = Literal["merged", "bg", "trimap", "fg", "alpha"]
LayoutName = Literal["folders", "mmagic", "huochaitiantang", "indexnet", "gca"]

Row = Mapping[Role, str]
"""The pictures of one composite, as paths below the exported folder."""

_SPLIT_FOLDERS = {"train": "Training_set", "val": "Validation_set", "test": "Test_set"}
# Once a foreground is enough where a list says which picture belongs to which composite.
_BY_COMPOSITE: frozenset[Role] = frozenset(("merged", "bg", "trimap"))
_EACH: frozenset[Role] = frozenset(get_args(Role))


def _no_list(_rows: Sequence[Row]) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One split as a trainer reads it.

    root: the folder of the split below the exported one; empty for that itself. folders: where the pictures
    of each role go, below the exported folder; roles that the trainer does not read are not there.
    by_composite: the roles whose pictures have a name for each composite; fg and alpha among them are the
    same picture under many names. list_name: the file that names the pictures, below the exported folder,
    and as_list its content; empty where the trainer goes by the folders.
    """

    name: LayoutName
    root: str
    folders: Mapping[Role, str]
    by_composite: frozenset[Role] = _BY_COMPOSITE
    list_name: str = ""
    as_list: Callable[[Sequence[Row]], str] = _no_list

    def path(self, role: Role, name: str, number: int) -> str:
        """The picture of a role for composite `number` of foreground `name`, below the exported folder."""
        own = f"{name}_{number}" if role in self.by_composite else name
        return f"{self.folders[role]}/{own}.png"

    def row(self, name: str, number: int) -> Row:
        """All pictures of a composite."""
        return {role: self.path(role, name, number) for role in self.folders}


def layout_of(name: LayoutName, split: str) -> Layout:
    """How the trainer `name` reads a split. Raises WrongUseError where it reads no composites of that."""
    return _MAKERS[name](split)


def _folders(split: str) -> Layout:
    """All that there is, with a list that mmagic reads."""
    places: dict[Role, str] = {
        "merged": "merged", "bg": "bg", "trimap": "trimaps", "fg": "fg", "alpha": "alpha"
    }  # fmt: skip
    return Layout(name="folders", root="", folders=places, list_name="annotations.json", as_list=_mmagic_list)


def _mmagic(split: str) -> Layout:
    """For mmagic's AdobeComp1kDataset: its configurations name training_list.json and test_list.json."""
    places = _below(_SPLIT_FOLDERS[split], {"merged": "merged", "bg": "bg", "fg": "fg", "alpha": "alpha"})
    if split != "train":  # training trimaps are drawn while it trains
        places |= _below(_SPLIT_FOLDERS[split], {"trimap": "trimaps"})
    list_name = {"train": "training_list.json"}.get(split, f"{split}_list.json")
    return Layout(
        name="mmagic",
        root=_SPLIT_FOLDERS[split],
        folders=places,
        list_name=list_name,
        as_list=_mmagic_list,
    )


def _mmagic_list(rows: Sequence[Row]) -> str:
    """`<role>_path` is what its LoadImageFromFile looks up; data_root is put before each."""
    return json.dumps([{f"{role}_path": path for role, path in row.items()} for row in rows], indent=1) + "\n"


def _huochaitiantang(split: str) -> Layout:
    """It walks fg/ and wants each of its names in alpha/, bg/ and image/; to test, image/'s in trimap/."""
    root = f"{_SPLIT_FOLDERS[split]}/comp"
    if split == "train":
        places = _below(root, {"merged": "image", "bg": "bg", "fg": "fg", "alpha": "alpha"})
    else:
        places = _below(root, {"merged": "image", "trimap": "trimap", "alpha": "alpha"})
    return Layout(name="huochaitiantang", root=root, folders=places, by_composite=_EACH)


def _indexnet(split: str) -> Layout:
    """A line a composite, with tabs: merged, alpha, fg, bg to train; merged, alpha, trimap to test."""
    root = _SPLIT_FOLDERS[split]
    if split == "train":
        places = _below(root, {"merged": "merged", "alpha": "alpha", "fg": "fg", "bg": "bg"})
    else:
        places = _below(root, {"merged": "merged", "alpha": "alpha", "trimap": "trimaps"})
    return Layout(
        name="indexnet", root=root, folders=places, list_name=f"lists/{split}.txt", as_list=_indexnet_list
    )


def _indexnet_list(rows: Sequence[Row]) -> str:
    for row in rows:
        for path in row.values():
            if "\t" in path or path.splitlines() != [path]:
                raise WrongUseError(
                    f"{path!r} has a tab or a line's end in its name, which IndexNet's list cannot hold: "
                    "rename the foreground and build it anew, or choose another --layout"
                )
    return "".join("\t".join(row.values()) + "\n" for row in rows)


def _gca(split: str) -> Layout:
    """It takes the names that merged, alpha_copy and trimaps share; to train it composites by itself."""
    if split == "train":
        raise WrongUseError(
            "GCA-Matting reads no training composites, it makes its own from foregrounds and photographs: "
            "export a test or val split, or choose another --layout"
        )
    root = _SPLIT_FOLDERS[split]
    places = _below(root, {"merged": "merged", "alpha": "alpha_copy", "trimap": "trimaps"})
    return Layout(name="gca", root=root, folders=places, by_composite=_EACH)


def _below(root: str, folders: Mapping[Role, str]) -> dict[Role, str]:
    return {role: f"{root}/{folder}" for role, folder in folders.items()}


_MAKERS: Mapping[LayoutName, Callable[[str], Layout]] = {
    "folders": _folders,
    "mmagic": _mmagic,
    "huochaitiantang": _huochaitiantang,
    "indexnet": _indexnet,
    "gca": _gca,
}
