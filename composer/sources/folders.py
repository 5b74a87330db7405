"""Where a listed name lies: folders searched once, names matched as people really have them."""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ...errors import WrongUseError
from ...names import has_image_suffix, path_parts, stem
from ...storage.remote import Place, Remote, Stored
from ...text import count, some

# Comparing a missing name with 80,000 others takes half a second: where many are missing, the first tell.
_HINTS = 10
ROLES = ("fg", "alpha")

# COCO's train2017 holds train2014's files under their bare numbers; people have either.
_COCO = re.compile(r"^COCO_(?:train|val|test)\d{4}_(?=\d{12}$)")


class ManifestError(WrongUseError):
    """The lists or folders do not make a data set; one line that names the file and says what to do."""


class _Match(NamedTuple):
    """A file that a listed path may mean; the larger, the likelier.

    whole: no listed folder is left over. folders: how many agree. spelling: 3 the same name, 2 but for
    upper and lower case or the Unicode form, 1 and 0 likewise for the stem alone.
    """

    whole: bool
    folders: int
    spelling: int
    path: str

    def beats(self, other: _Match) -> bool:
        """Whether nothing speaks for the other one."""
        mine, its = (self.whole, self.folders), (other.whole, other.folders)
        return mine >= its and self.spelling >= other.spelling and self[:3] != other[:3]


class FolderIndex:
    """The files below a folder, sub-folders and linked ones included, found by what lists call them.

    A listed path means the file whose path below the folder ends so. Adobe's release splits its images
    over sub-folders, and one of its lists names `.png` where the files are `.jpg`: so a stem will do, or the
    end of the listed path, where one file alone has it and no listed folder speaks against it; `notes`
    counts that. Hidden files, other files than images by their suffix, and names that are not UTF-8, which
    no list can hold, are passed over unless they are listed. Raises ManifestError where there is no such
    folder.
    """

    def __init__(self, root: Place, *, role: str = "") -> None:
        """role: `fg` or `alpha`; where both have folders below, as in Adobe's release, only its own."""
        self.root = root
        self._hints_left = _HINTS
        self._by_key: dict[str, list[str]] = defaultdict(list)
        self._images: list[str] = []
        self._passed: dict[str, list[str]] = defaultdict(list)
        self._links: set[str] = set()
        self._found: dict[str, Place] = {}
        self._otherwise: dict[str, dict[str, str]] = defaultdict(dict)
        if not root.is_dir():
            raise ManifestError(
                f"{root} is no folder: bring it, or say where it is (--help names the options)"
            )
        self._stored = _objects(root) if isinstance(root, Remote) else {}
        every = [(path, True, False) for path in sorted(self._stored)]
        listed = _files(root) if isinstance(root, Path) else every
        self._by_role = bool(role) and _has_roles(listed)
        for path, may_be_file, is_link in _of_role(listed, role) if self._by_role else listed:
            if is_link:
                self._links.add(path)
            name = path.rpartition("/")[2]
            self._by_key[_key(name)].append(path)
            if why := _why_passed_over(path, name, may_be_file):
                self._passed[why].append(path)
            else:
                self._images.append(path)
        self._paths = {path for paths in self._by_key.values() for path in paths}

    @property
    def divided(self) -> bool:
        """Whether the folder has foregrounds and mattes in folders of their own, and these are either."""
        return self._by_role

    @property
    def names(self) -> list[str]:
        """What lists may call the images, each its own: the file's name, or its path where that is shared."""
        shared = Counter(path.rpartition("/")[2] for path in self._images)
        return [path if shared[name := path.rpartition("/")[2]] > 1 else name for path in self._images]

    @property
    def passed_over(self) -> list[str]:
        """A line for each reason why files are no candidates, with their number and some names."""
        return [
            f"{self.root}: {count(len(paths), 'file')} passed over, {why}: {some(paths)}"
            for why, paths in self._passed.items()
        ]

    def notes(self, *, stems: bool = True) -> list[str]:
        """How many names were found under another one so far; `stems`: a mere other suffix as well."""
        return [
            f"{self.root}: {count(len(uses), 'listed name')} found {how}: "
            + some([f"{name} is {path}" for name, path in uses.items()])
            for how, uses in self._otherwise.items()
            if stems or how != _BY_STEM
        ]

    def refuse_all_missing(self, names: Iterable[str], listed_in: str) -> None:
        """Raise ManifestError where the folder has none of the names: one line, not one for each."""
        wanted = list(names)
        if len(wanted) > 1 and not any(self._matches(name) for name in wanted):
            raise ManifestError(
                f"none of the {len(wanted):,} names in {listed_in} is in {self.root} or below "
                f"({wanted[0]}, …): say where the files are (--help names the options)"
            )

    def find(self, name: str) -> Place:
        """The one file that `name` means. Raises ManifestError where there is none, or more than one."""
        if (found := self._found.get(name)) is None:
            found = self._found[name] = self._find(name)
        return found

    def _find(self, name: str) -> Place:
        found = self._matches(name)
        if not found:
            raise ManifestError(f"{name} is not in {self.root} or below{self._hint(name)}")
        best = max(found)
        rivals = [each for each in found if each != best and not best.beats(each)]
        if rivals:
            both = " and ".join(sorted((best.path, min(rivals).path)))
            raise ManifestError(
                f"{name} could be {both} in {self.root}: list the path of one, or rename or remove the other"
            )
        self._note(name, best)
        if isinstance(self.root, Remote):
            return self.root.at(best.path, self._stored.get(best.path))
        if best.path in self._links and not (self.root / best.path).exists():
            raise ManifestError(
                f"{self.root / best.path} is a link to a file that is not there: bring that file"
            )
        return self.root / best.path

    def _matches(self, name: str) -> list[_Match]:
        """The files that `name` may mean; one alone where it is a path below the folder."""
        listed = path_parts(name)
        below = name if name in self._paths else "/".join(listed)
        hidden = any(part.startswith(".") for part in listed)
        if below in self._paths or (hidden and (self.root / below).is_file()):
            return [_Match(True, len(listed), 3, below)]
        found = (self._match(listed, path) for path in self._by_key.get(_key(listed[-1]), ()))
        return [each for each in found if each is not None]

    def _match(self, listed: tuple[str, ...], path: str) -> _Match | None:
        """How well a file of the same stem fits; None where a listed folder speaks against it."""
        listed, there = self._told_apart(listed), self._told_apart(tuple(path.split("/")))
        spelling = _spelling(listed[-1], there[-1])
        if spelling < 2 and not has_image_suffix(there[-1]):
            return None
        own = (*self.root.absolute().parts[1:], *there)
        agreeing = 0
        for mine, its in zip(reversed(listed[:-1]), reversed(own[:-1]), strict=False):
            if mine != its:
                if _loose(mine) != _loose(its):
                    break
                spelling &= ~1  # 3 to 2, 1 to 0
            agreeing += 1
        whole = agreeing == len(listed) - 1
        return _Match(whole, agreeing, spelling, path) if whole or agreeing >= len(there) - 1 else None

    def _told_apart(self, parts: tuple[str, ...]) -> tuple[str, ...]:
        """A path without the folder of its role, in which a foreground and its matte differ."""
        return tuple(part for part in parts if part not in ROLES) if self._by_role else parts

    def _note(self, name: str, found: _Match) -> None:
        if not found.whole:
            self._otherwise["by the end of their path alone"][name] = found.path
        elif found.spelling < 2:
            self._otherwise[_BY_STEM][name] = found.path
        elif found.spelling == 2 or ("\\" in name and name != found.path):
            self._otherwise["in another spelling (upper and lower case, Unicode)"][name] = found.path

    def _hint(self, name: str) -> str:
        self._hints_left -= 1
        if self._hints_left < 0:
            return ": bring the file"
        last = path_parts(name)[-1]
        if elsewhere := self._by_key.get(_key(last)):
            return f" (there is {elsewhere[0]}, elsewhere than listed): bring the file, or correct the list"
        names = [path.rpartition("/")[2] for path in self._images]
        close = difflib.get_close_matches(last, names, n=1, cutoff=0.85)
        return f" (is it {close[0]}?): bring the file, or correct the list" if close else ": bring the file"


_BY_STEM = "by their stem"


def _spelling(listed: str, there: str) -> int:
    if listed == there:
        return 3
    if _loose(listed) == _loose(there):
        return 2
    return int(_COCO.sub("", stem(listed)) == _COCO.sub("", stem(there)))


def _key(name: str) -> str:
    return _loose(_COCO.sub("", stem(name)))


def _loose(name: str) -> str:
    """A name without upper and lower case and Unicode's two ways to write an accent."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def _why_passed_over(path: str, name: str, may_be_file: bool) -> str:
    if not may_be_file:
        return "no files (pipes, sockets, devices), or closed folders"
    if not _is_text(path):
        return "their names are not UTF-8 (rename them; `unzip -O GBK` or `convmv` mends many at once)"
    if path.strip().splitlines() != [path]:
        return "no line of a list can hold their names (rename them)"
    return "" if has_image_suffix(name) else "no images by their suffix"


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes of another encoding, as Python carries them
        return False
    return True


def _objects(root: Remote) -> dict[str, Stored]:
    """What lies below a folder of a store and is not hidden, by its path there, from its listing alone."""
    if not root.listable:
        raise ManifestError(f"{root} cannot be listed: bring the images to a folder, or to s3, gs or az")
    every = root.below()
    return {path: state for path, state in every.items() if not re.search(r"(^|/)\.", path)}


def _has_roles(listed: list[tuple[str, bool, bool]]) -> bool:
    """Whether foregrounds and mattes, which share their names, lie side by side in folders of their own."""
    return all(any(f"/{role}/" in f"/{path}" for path, *_ in listed) for role in ROLES)


def _of_role(listed: list[tuple[str, bool, bool]], role: str) -> list[tuple[str, bool, bool]]:
    return [each for each in listed if f"/{role}/" in f"/{each[0]}"]


def holds_roles(root: Place) -> bool:
    """Whether a folder has sub-folders that each have both roles' folders, as Adobe's release has."""
    return isinstance(root, Path) and all(any(root.glob(f"*/{role}")) for role in ROLES)


def _files(root: Path) -> list[tuple[str, bool, bool]]:
    """The paths below `root` that are not hidden, in order; whether each can be a file, and is a link."""
    found: list[tuple[str, bool, bool]] = []
    seen = set()
    waiting = [""]
    while waiting:
        below = waiting.pop()
        here = os.path.realpath(root / below)
        if here in seen:  # a link back up
            continue
        seen.add(here)
        entries = _entries(here)
        if entries is None:
            found.append((below.rstrip("/"), False, False))
            continue
        # Of what is no link the listing itself says what it is: no file is asked.
        folders = [each.name for each in entries if each.is_dir()]
        others = [each for each in entries if not each.is_dir()]
        found += [(below + each.name, _may_be_file(each), each.is_symlink()) for each in others]
        waiting += [f"{below}{name}/" for name in reversed(folders)]
    return found


def _entries(folder: str) -> list[os.DirEntry[str]] | None:
    """What lies in a folder and is not hidden, in order; None where it may not be looked into."""
    try:
        with os.scandir(folder) as listing:
            there = [each for each in listing if not each.name.startswith(".")]
    except OSError:
        return None
    return sorted(there, key=lambda each: each.name)


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    """A file, or a link to one that is not there (which is told of when it is asked for)."""
    return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
