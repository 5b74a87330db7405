"""Where a listed name lies: folders searched once, names matched as people really have them."""

from __future__ import annotations

import difflib
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from ...errors import WrongUseError
from ...names import IMAGE_SUFFIXES, stem

# Comparing a missing name with 80,000 others takes half a second: where many are missing, the first tell.
_HINTS = 10

# COCO's train2017 holds train2014's files under their bare numbers; people have either.
_COCO = re.compile(r"^COCO_(?:train|val|test)\d{4}_(?=\d{12}$)")


class ManifestError(WrongUseError):
    """The lists or folders do not make a data set; one line that names the file and says what to do."""


class FolderIndex:
    """The image files below a folder, sub-folders and linked ones included, by name and by stem.

    Adobe's release splits its images over two sub-folders, and one of its lists names `.png` where the
    files are `.jpg`: so an exact name is taken first, then a file of the same stem. Hidden files are
    passed over, and names that are not UTF-8, which no list can hold. Raises ManifestError where there is
    no such folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._hints_left = _HINTS
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        if not root.is_dir():
            raise ManifestError(
                f"{root} is no folder: bring it, or say where it is (--help names the options)"
            )
        for path in _image_files(root):
            self._by_name[path.name].append(path)
            self._by_stem[_key(path.name)].append(path)

    @property
    def names(self) -> list[str]:
        """All file names, each once."""
        return list(self._by_name)

    def refuse_all_missing(self, names: Iterable[str], listed_in: str) -> None:
        """Raise ManifestError where the folder has none of the names: one line, not one for each."""
        wanted = list(names)
        if len(wanted) > 1 and not any(self._matches(name) for name in wanted):
            raise ManifestError(
                f"none of the {len(wanted):,} names in {listed_in} is in {self.root} or below "
                f"({wanted[0]}, …): say where the files are (--help names the options)"
            )

    def _matches(self, name: str) -> list[Path]:
        return self._by_name.get(Path(name).name) or self._by_stem.get(_key(name)) or []

    def find(self, name: str) -> Path:
        """The one file that `name` means. Raises ManifestError where there is none, or more than one."""
        found = self._matches(name)
        if len(found) > 1:
            both = " and ".join(str(path.relative_to(self.root)) for path in sorted(found)[:2])
            raise ManifestError(f"{name} could be {both} in {self.root}: rename or remove one")
        if found:
            if not found[0].exists():
                raise ManifestError(f"{found[0]} is a link to a file that is not there: bring that file")
            return found[0]
        raise ManifestError(f"{name} is not in {self.root} or below{self._hint(name)}")

    def _hint(self, name: str) -> str:
        self._hints_left -= 1
        if self._hints_left < 0:
            return ": bring the file"
        close = difflib.get_close_matches(name, self._by_name, n=1, cutoff=0.85)
        return f" (is it {close[0]}?): bring the file, or correct the list" if close else ": bring the file"


def _key(name: str) -> str:
    return _COCO.sub("", stem(name))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes of another encoding, as Python carries them
        return False
    return True


def _image_files(root: Path) -> list[Path]:
    found = []
    seen = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        here = os.path.realpath(folder)
        if here in seen:  # a link back up
            subfolders.clear()
            continue
        seen.add(here)
        subfolders[:] = sorted(each for each in subfolders if not each.startswith("."))
        found += [
            Path(folder, file)
            for file in sorted(files)
            if not file.startswith(".") and Path(file).suffix.lower() in IMAGE_SUFFIXES and _is_text(file)
        ]
    return found
