"""Pictures to look at: a contact sheet of a folder of shards."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from ...arrays import UInt8Image, UInt8Mask
from ...errors import WrongUseError
from ...files import part_of
from ...names import composite_name
from ...pages.assets import thumbnail
from ...storage.remote import Place
from ..pixels.trimap import trimap_of
from ..shards.dataset import CompositeDataset, open_as_stored
from ..shards.reader import Shard

_CELL = 200
_GAP = 8
_LABEL = 16
_RADIUS = 10
_COMPOSITES = 4


def write_composite(path: Place, i: int, out: Path | None) -> Path:
    """Write composite `i` of a shard, or of a folder of shards, as a picture; returns where it went.

    `out` is by default the composite's official name. Raises ShardError, WrongUseError for no such composite.
    """
    try:
        name, pixels = _composite(path, i)
    except IndexError as error:
        raise WrongUseError(f"{error}: --image counts from 0") from error
    out = out or Path(f"{name}.png")
    write_picture(Image.fromarray(pixels), out)
    return out


def _composite(path: Place, i: int) -> tuple[str, UInt8Image]:
    if path.is_dir():
        sample = CompositeDataset(path)[i]
        return sample.name, sample.composite
    with open_as_stored(path) as shard:
        if i >= len(shard):
            raise IndexError(f"composite {i} of {len(shard)} in {path}")
        header = shard.header
        return composite_name(header.foreground, header.first + i, header.label), shard.composite(i)


def write_contact_sheet(folder: Place, out: Path) -> None:
    """Write `contact_sheet(folder)` as a picture."""
    write_picture(contact_sheet(folder), out)


def write_picture(picture: Image.Image, path: Path) -> None:
    """Save a picture in the format of its suffix, under its name only when complete. Raises WrongUseError."""
    if not path.parent.is_dir():
        raise WrongUseError(f"{path.parent} is no folder: make it, or write {path.name} elsewhere")
    kind = Image.registered_extensions().get(path.suffix.lower(), "PNG")
    if kind not in Image.SAVE:
        raise WrongUseError(f"{path}: Pillow reads {kind} and does not write it: name it .png")
    with part_of(path) as part:
        picture.save(part, format=kind)


def contact_sheet(folder: Place, *, rows: int = 16) -> Image.Image:
    """One row a foreground: alpha, a trimap of radius 10, and up to four composites.

    At most `rows` foregrounds, spread over the list. Raises ShardError.
    """
    dataset = CompositeDataset(folder, max_open=1)
    firsts = [i for i, record in enumerate(dataset.index.shards) if not record.first]
    number = min(rows, len(firsts))
    shown = [firsts[i * len(firsts) // number] for i in range(number)]
    width = (2 + _COMPOSITES) * (_CELL + _GAP) + _GAP
    sheet = Image.new("RGB", (width, len(shown) * (_CELL + _LABEL + _GAP) + _GAP), (24, 24, 26))
    for row, i in enumerate(shown):
        _draw_row(sheet, _GAP + row * (_CELL + _LABEL + _GAP), dataset.shard(i))
    dataset.close()
    return sheet


def _draw_row(sheet: Image.Image, top: int, shard: Shard) -> None:
    alpha = shard.alpha()
    height, width = shard.shape
    label = f"{shard.header.index}  {shard.header.foreground}  {width} x {height}  {len(shard)} composites"
    ImageDraw.Draw(sheet).text((_GAP, top), label, fill=(190, 190, 190))
    pictures: list[UInt8Image | UInt8Mask] = [alpha, trimap_of(alpha, shard.distance(), _RADIUS, _RADIUS)]
    pictures += [shard.composite(i) for i in range(min(_COMPOSITES, len(shard)))]
    for column, pixels in enumerate(pictures):
        picture = thumbnail(pixels, _CELL)
        x = _GAP + column * (_CELL + _GAP) + (_CELL - picture.width) // 2
        sheet.paste(picture, (x, top + _LABEL + (_CELL - picture.height) // 2))
