"""All kinds of foregrounds, how often each is drawn, and several of them in one picture."""

from collections.abc import Callable

import numpy as np

from ..drawing import Floats, Rng
from ..palettes import Palette
from .creatures.feathers import feathers
from .creatures.heads import portrait
from .creatures.plush import plush
from .creatures.wisps import wisps
from .glass import glass
from .lace import curtain, doily
from .nets import net, tangle
from .plants import fern, flowers, grass, thistle, twigs
from .smoke import smoke
from .soft import bubbles, cloud, flame, shadow, spray, veil
from .solids import balls, foliage, pinwheel
from .things import banner, things

Kind = Callable[[Rng, tuple[int, int], Palette], Floats]


def _plain(draw: Callable[[Rng, tuple[int, int]], Floats]) -> Kind:
    """A kind that brings its own colours."""

    def kind(rng: Rng, shape: tuple[int, int], palette: Palette) -> Floats:
        return draw(rng, shape)

    kind.__name__ = draw.__name__
    return kind


def group(rng: Rng, shape: tuple[int, int], palette: Palette) -> Floats:
    """Two or three of the others, each in a part of the picture, those below in front. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    corners = []
    for _ in range(int(rng.integers(2, 4))):
        part = rng.uniform(0.45, 0.8)
        height, width = int(part * shape[0]), int(part * shape[1])
        corners.append(
            (
                int(rng.integers(0, shape[0] - height + 1)),
                int(rng.integers(0, shape[1] - width + 1)),
                height,
                width,
            )
        )
    for top, left, height, width in sorted(corners):
        layer = _IN_GROUPS[rng.integers(len(_IN_GROUPS))](rng, (height, width), palette)
        place = canvas[top : top + height, left : left + width]
        place *= 1 - layer[..., 3:]
        place += layer
    return canvas


_IN_GROUPS: tuple[Kind, ...] = (plush, things, things, flowers, twigs, thistle, feathers, banner)

KINDS: dict[str, tuple[Kind, float]] = {
    "portrait": (portrait, 15),
    "plush": (plush, 22),
    "wisps": (wisps, 6),
    "things": (things, 12),
    "banner": (banner, 3),
    "group": (group, 7),
    "net": (net, 7),
    "tangle": (tangle, 3),
    "feathers": (feathers, 4),
    "flowers": (flowers, 4),
    "foliage": (_plain(foliage), 3),
    "grass": (grass, 3),
    "twigs": (twigs, 3),
    "fern": (fern, 2),
    "thistle": (thistle, 3),
    "curtain": (_plain(curtain), 1),
    "doily": (_plain(doily), 0.7),
    "glass": (_plain(glass), 1),
    "smoke": (_plain(smoke), 1),
    "veil": (veil, 1.2),
    "flame": (flame, 0.6),
    "bubbles": (bubbles, 0.6),
    "spray": (spray, 0.8),
    "cloud": (cloud, 0.6),
    "shadow": (shadow, 0.5),
    "balls": (_plain(balls), 0.5),
    "pinwheel": (_plain(pinwheel), 0.5),
}
"""Name -> what draws it, and its share of the whole, in hundredths or so."""
