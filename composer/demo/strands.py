"""Hairs, barbs, blades, threads and tubes: tapering curves, shaded from root to tip, thousands at a time."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .drawing import Floats, Rng, floats, paint_strokes

SPACING = 0.9  # pixels from one point of a drawn strand to the next
MOST = 600  # points of one strand
RIB = 0.8  # pixels: a wider strand is drawn as ribs of this width side by side
_PER_STRAND = ("y", "x", "angle", "length", "bend", "width", "root", "tip")


@dataclass(frozen=True, kw_only=True)
class Strands:
    """n strands in the image plane, all lengths in pixels; angles 0 to the right, a right angle upwards."""

    y: Floats  # (n,) roots
    x: Floats
    angle: Floats  # (n,) at the root
    length: Floats  # (n,)
    bend: Floats  # (n,) radians turned by the tip
    width: Floats  # (n,) at the root
    root: Floats  # (n, 3) colours
    tip: Floats  # (n, 3)
    curl: float = 0.0  # radians that it swings by
    turns: float = 2.0  # how often it swings
    shine: float = 0.0  # how much brighter a band of it is
    taper: float = 0.9  # how much thinner the tip is
    round: float = 0.0  # how much darker a wide one is towards its edges
    solid: bool = False  # wide strands: nothing is seen through them

    def __len__(self) -> int:
        return len(self.y)

    def only(self, chosen: npt.NDArray[np.bool_ | np.intp]) -> "Strands":
        """Those that `chosen`, a mask or indices, takes."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in _PER_STRAND})


def draw_strands(rng: Rng, canvas: Floats, strands: Strands) -> None:
    """Paint them over `canvas` (h, w, 4), as one layer."""
    if not len(strands):
        return
    points = np.clip(np.ceil(strands.length / np.float32(SPACING)), 2, MOST)
    ribs = np.where(strands.width > 1.5, np.ceil(strands.width / RIB), 1).astype(np.intp)
    size = np.ceil(np.log2(points) * 2).astype(np.intp) * 1024 + ribs  # alike ones are traced together
    parts = [_trace(rng, strands.only(size == each), int(each % 1024)) for each in np.unique(size)]
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    paint_strokes(canvas, *columns, solid=strands.solid)


def _trace(rng: Rng, strands: Strands, ribs: int) -> tuple[Floats, Floats, Floats, Floats]:
    """The strands as points: y (m,), x (m,), colour (m, 3), mass (m,)."""
    count = int(np.clip(np.ceil(strands.length.max() / SPACING), 2, MOST))
    t = (np.arange(count, dtype=np.float32) + np.float32(0.5)) / np.float32(count)
    angle = strands.angle[:, None] + strands.bend[:, None] * t
    if strands.curl:
        phase = rng.uniform(0, 6.28, (len(strands), 1)).astype(np.float32)
        swing = rng.normal(strands.curl, 0.3 * strands.curl, (len(strands), 1)).astype(np.float32)
        angle = angle + swing * np.sin(np.float32(6.28 * strands.turns) * t + phase)
    step = (strands.length / np.float32(count))[:, None]
    sine, cosine = np.sin(angle), np.cos(angle)
    y = strands.y[:, None] - np.cumsum(sine, axis=1) * step
    x = strands.x[:, None] + np.cumsum(cosine, axis=1) * step
    width = strands.width[:, None] * (1 - np.float32(strands.taper) * t**2)
    colour = strands.root[:, None] + (strands.tip - strands.root)[:, None] * t[:, None]
    if strands.shine:
        at = rng.normal(0.45, 0.12, (len(strands), 1)).astype(np.float32)
        colour = colour + (strands.shine * np.exp(-(((t - at) / 0.14) ** 2)))[..., None] * (0.3 + colour)
    across = ((np.arange(ribs, dtype=np.float32) + np.float32(0.5)) / ribs - np.float32(0.5))[:, None, None]
    tone = 1 - strands.round * (2 * across - np.float32(0.35)) ** 2  # lit from one side
    y, x = y - across * width * cosine, x - across * width * sine
    mass = np.broadcast_to(width * step / ribs, y.shape)
    colour = np.clip(colour * tone[..., None], 0, 1)
    return (
        floats(y).ravel(),
        floats(x).ravel(),
        floats(np.broadcast_to(colour, (*y.shape, 3))).reshape(-1, 3),
        floats(mass).ravel(),
    )
