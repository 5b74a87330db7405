"""List files, and all that a build starts from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...manifests.presets import PER_FG
from ...storage.remote import Place
from ...text import first_line, is_it
from .folders import ManifestError
from .order import PER_SHARD
from .reading import ADOBE, Reading

SPLITS = tuple(PER_FG)


@dataclass(frozen=True, kw_only=True)
class Lists:
    """What a build starts from; only `fg_list` must be given, the rest is found beside it.

    fg_dir, alpha_dir, bg_dir: `fg`, `alpha`, `bg` beside the list. bg_list: the list's name with `bg` for
    `fg`; where there is none, backgrounds are drawn from bg_dir with `seed`, without repetition. split: in
    the list's name. per_fg: 100 for train, 20 for val and test. per_shard: backgrounds in a shard, at most.
    reuse_bg: start again at the head of the background list when it ends. alpha_from, alpha_max,
    exif_transpose: see Reading.
    """

    fg_list: Path
    fg_dir: Place | None = None
    alpha_dir: Place | None = None
    bg_list: Path | None = None
    bg_dir: Place | None = None
    split: str | None = None
    per_fg: int | None = None
    per_shard: int = PER_SHARD
    seed: int = 0
    reuse_bg: bool = False
    alpha_from: str = ADOBE.alpha_from
    alpha_max: int | None = None
    exif_transpose: bool | None = None

    @property
    def known_split(self) -> str:
        """The split, as it is given or in the list's name. Raises ManifestError."""
        if self.split is not None:
            return self.split
        for split in SPLITS:
            if self.fg_list.name.lower().startswith(split):
                return split
        if not self.fg_list.exists():
            raise _missing(self.fg_list)
        raise ManifestError(
            f"{self.fg_list}: the name does not begin with {', '.join(SPLITS[:-1])} or {SPLITS[-1]}; "
            "say which it is with --split"
        )

    @property
    def beside_bg_list(self) -> Path | None:
        """The background list that is given or lies beside the foregrounds' list; None for a draw."""
        if self.bg_list is not None:
            return self.bg_list
        path = self.fg_list.with_name(self.fg_list.name.replace("fg", "bg"))
        return path if path != self.fg_list and path.exists() else None

    @property
    def reading(self) -> Reading:
        """How the sources are to be read."""
        return Reading(
            alpha_from=self.alpha_from, alpha_max=self.alpha_max, exif_transpose=self.exif_transpose
        )


def _missing(path: Path) -> ManifestError:
    beside = [each.stem for each in path.parent.glob("*.txt")] if path.parent.is_dir() else []
    close = is_it(path.stem, beside, suffix=".txt")
    return ManifestError(f"{path} does not exist: bring the list, or say where it is{close}")


def read_list(path: Path) -> tuple[list[str], list[str]]:
    """The names in a list file, one a line, and notes on what was passed over (blank lines).

    CRLF, a byte order mark and a missing newline at the end are all right. Raises ManifestError.
    """
    names: list[str] = []
    each: dict[str, str] = {}  # a name that stands in a list of millions a hundred times is one text
    blank = 0
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for line in lines:
                for part in line.splitlines():
                    name = part.strip()
                    names += [each.setdefault(name, name)] if name else []
                    blank += not name
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise ManifestError(
            f"{path} cannot be read ({first_line(error)}): give a text file that "
            "this user may read, in folders that this user may enter"
        ) from error
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"{path} cannot be read as a list of names in UTF-8 ({first_line(error)}): save it as UTF-8 text "
            "(editors and `iconv` do)"
        ) from error
    notes = [f"{path}: {blank} blank line{'s' * (blank > 1)} passed over"] if blank else []
    return names, notes
