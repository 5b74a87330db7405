"""People's and dolls' heads: hair of all styles, seen from the front, the side or behind."""

from dataclasses import dataclass, replace

import numpy as np

from ...drawing import Floats, Rng, floats, fractal_noise, hsv
from ...materials import MATERIALS, material
from ...palettes import Palette
from ...strands import Strands as Curves
from ...strands import draw_strands
from ..bodies import Light, Part, any_light, cast_shadow, paint_part
from .hair import HEAD, NECK, SHOULDERS, TORSO, Strands, Style, draw_head, grow, shade

STYLES = (
    Style(),
    Style(length=(1.4, 2.4), wave=(0.01, 0.03), tight=(0.1, 0.5), stray=0.2),
    Style(length=(2.6, 3.6), wave=(0.08, 0.2), turns=(9, 20), lift=0.3, tight=(0.5, 0.9), lock=90),
    Style(length=(1.2, 2.2), wave=(0.08, 0.16), turns=(18, 30), weight=1.2, lift=0.4, stray=0.25),
    Style(length=(0.7, 1.2), wave=(0.1, 0.16), turns=(20, 32), weight=0.1, lift=0.9, stray=0.4, lock=25),
    Style(length=(0.15, 0.6), weight=0.8, lift=0.2, strands=9000, tight=(0, 0.6), wave=(0, 0.02), stray=0.3),
    Style(length=(0.5, 1.0), weight=-0.6, lift=0.4, tight=(0.5, 0.9), lock=70, wave=(0, 0.05), stray=0.25),
    Style(length=(1.8, 3.0), wind=(1.2, 3.5), weight=1.0, stray=0.35, lift=0.3),
    Style(length=(2.2, 3.2), lock=700, tight=(0.85, 0.97), wave=(0.06, 0.1), turns=(14, 22), stray=0.12),
    Style(length=(1.5, 2.6), lift=0.5, stray=0.6, wave=(0.05, 0.2), turns=(6, 20), tight=(0.0, 0.6)),
)

# Hue, saturation, value: black to white through browns, reds and fair, then what is dyed or a doll's.
DYES = (
    (0.06, 0.4, 0.12),
    (0.06, 0.5, 0.25),
    (0.06, 0.6, 0.42),
    (0.04, 0.75, 0.66),
    (0.07, 0.65, 0.6),
    (0.1, 0.5, 0.85),
    (0.12, 0.3, 0.95),
    (0.1, 0.05, 0.6),
    (0.1, 0.03, 0.95),
    (0.04, 0.9, 0.95),
)
SKINS = ((0.06, 0.3, 0.95), (0.06, 0.42, 0.85), (0.065, 0.5, 0.68), (0.06, 0.55, 0.45), (0.05, 0.5, 0.3))


@dataclass(frozen=True, kw_only=True)
class _Pose:
    """Where the head is in the picture, and which way it looks."""

    y: float
    x: float
    scale: float  # pixels a unit
    turn: float  # radians: 0 from behind, pi from the front

    def part(self, center: tuple[float, float], radii: tuple[float, float], turn: float = 0.0) -> Part:
        """An ellipse given in the head's units, up from its middle."""
        y, x = self.y - center[1] * self.scale, self.x + center[0] * self.scale
        return Part(y=y, x=x, tall=radii[1] * self.scale, wide=radii[0] * self.scale, turn=turn)

    def on_face(self, aside: float, up: float) -> tuple[float, float, float]:
        """Where a place of the face is seen: right, up, and how much it faces us (below 0: not at all)."""
        angle = self.turn - np.pi + aside
        around = np.sqrt(max(1 - up * up, 0))
        return HEAD.radii[0] * around * np.sin(angle), up, around * np.cos(angle)


def portrait(rng: Rng, shape: tuple[int, int], palette: Palette) -> Floats:
    """One head with hair, and shoulders where they are in the picture. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    close = np.exp(rng.uniform(np.log(0.4), np.log(2.2)))
    scale = float(min(0.25 * shape[0], 0.31 * shape[1]) * close)
    away = max(close - 0.8, 0) * 0.22
    pose = _Pose(
        y=shape[0] * (0.42 - 0.45 * max(0.8 - close, 0) + rng.uniform(-0.3, 1) * away),
        x=shape[1] * (0.5 + rng.uniform(-1, 1) * away),
        scale=scale,
        turn=rng.uniform(0, 2 * np.pi) if rng.random() < 0.4 else rng.normal(np.pi, 0.5),
    )
    style = STYLES[rng.integers(len(STYLES))]
    style = replace(style, strands=int(style.strands * min(max(close, 0.7), 1.4)), tips=rng.uniform(0.1, 0.7))
    style = replace(style, gloss=rng.uniform(0.1, 0.7))
    strands = _turn(grow(rng, style), pose.turn)
    dye = floats(palette.pick(rng)) if rng.random() < 0.3 else hsv(*DYES[rng.integers(len(DYES))])
    colour = shade(rng, strands, dye * np.float32(rng.uniform(0.8, 1.2)), style)

    def body() -> None:
        _body(rng, canvas, pose, palette, dye)

    draw_head(rng, canvas, strands, colour, middle=(pose.y, pose.x), scale=scale, body=body)
    return canvas


def _turn(strands: Strands, angle: float) -> Strands:
    """The strands seen from another side."""
    sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    x, y, z = (strands.points[..., axis] for axis in range(3))
    return strands._replace(points=np.stack([x * cosine + z * sine, y, z * cosine - x * sine], axis=-1))


def _body(rng: Rng, canvas: Floats, pose: _Pose, palette: Palette, dye: Floats) -> None:
    """Neck, shoulders, head, and a face where it looks at us."""
    shape = canvas.shape[0], canvas.shape[1]
    light = any_light(rng, gloss=rng.choice([0, 0.25]))
    tint = SKINS[rng.integers(len(SKINS))]
    skin = hsv(tint[0] + rng.normal(0, 0.01), tint[1], tint[2]) * np.ones((*shape, 1), dtype=np.float32)
    skin = skin * (1 + 0.05 * fractal_noise(rng, shape, slope=1.2))[..., None]
    cloth = material(rng, shape, palette, MATERIALS[rng.integers(len(MATERIALS))])
    cloth = cloth * (1 + 0.25 * np.tanh(fractal_noise(rng, shape, slope=1.8)))[..., None]
    paint_part(rng, canvas, pose.part(NECK.center[:2], NECK.radii[:2]), skin * 0.75, light)
    for part in (SHOULDERS, TORSO):
        paint_part(rng, canvas, pose.part(part.center[:2], part.radii[:2]), floats(cloth), light)
    _arms(rng, canvas, pose, cloth=floats(cloth), skin=floats(skin), light=light)
    from_front = -np.cos(pose.turn)
    head = pose.part((0, -0.05), (0.74, 0.98))
    scalp = skin if from_front > -0.2 else dye * 0.35
    paint_part(rng, canvas, head, floats(scalp), light)
    if from_front > -0.2:
        _face(rng, canvas, pose, floats(skin[0, 0]), light=light, dye=dye)


def _arms(rng: Rng, canvas: Floats, pose: _Pose, *, cloth: Floats, skin: Floats, light: Light) -> None:
    """Two arms that hang, are bent or raised, with a hand each; the sleeves are long or short."""
    bare = rng.random() < 0.4
    for side in (-1, 1):
        angle = side * rng.choice([0.15, 0.5, 1.2, 2.6]) + rng.normal(0, 0.2)  # 0 hangs down
        elbow = 1.3 * side + 1.5 * np.sin(angle), -2.4 - 1.5 * np.cos(angle)
        fore = angle - side * rng.uniform(0, 2.2)
        hand = elbow[0] + 1.5 * np.sin(fore), elbow[1] - 1.5 * np.cos(fore)
        upper = pose.part(((1.3 * side + elbow[0]) / 2, (elbow[1] - 2.4) / 2), (0.36, 1.0), angle)
        lower = pose.part(((elbow[0] + hand[0]) / 2, (elbow[1] + hand[1]) / 2), (0.26, 0.95), fore)
        for part, colour in ((upper, cloth), (lower, skin if bare else cloth)):
            cast_shadow(canvas, part, light, 0.4)
            paint_part(rng, canvas, part, colour, light)
        for finger in np.linspace(-0.5, 0.5, 4):
            turn = fore + finger
            at = hand[0] + 0.42 * np.sin(turn), hand[1] - 0.42 * np.cos(turn)
            paint_part(rng, canvas, pose.part(at, (0.07, 0.3), turn), skin, light)
        paint_part(rng, canvas, pose.part(hand, (0.24, 0.32), fore), skin, light)


def _face(rng: Rng, canvas: Floats, pose: _Pose, skin: Floats, *, light: Light, dye: Floats) -> None:
    """Eyes with brows, a nose, a mouth, each where the head's turn brings it."""
    gloss = replace(light, gloss=0.9, ambient=0.7)
    lips = skin * floats([0.9, rng.uniform(0.4, 0.75), rng.uniform(0.5, 0.8)])
    iris = hsv(rng.choice([0.07, 0.58, 0.3]), 0.5, rng.uniform(0.2, 0.6))
    for side in (-0.45, 0.45):
        x, y, seen = pose.on_face(side, 0.02)
        if seen < 0.15:
            continue
        paint_part(
            rng, canvas, pose.part((x, y), (0.19 * seen, 0.11)), skin * 0.6, light, soft=0.06 * pose.scale
        )
        paint_part(rng, canvas, pose.part((x, y), (0.15 * seen, 0.065)), floats([0.9, 0.88, 0.86]), gloss)
        paint_part(rng, canvas, pose.part((x, y), (0.065 * seen, 0.065)), iris, gloss)
        paint_part(rng, canvas, pose.part((x, y), (0.03 * seen, 0.03)), floats([0.02, 0.02, 0.02]), gloss)
        _brow(rng, canvas, pose, (x, y + 0.17), wide=0.3 * seen, dye=dye)
    for up, size, colour in ((-0.28, (0.12, 0.1), skin * 1.06), (-0.55, (0.22, 0.07), lips)):
        x, y, seen = pose.on_face(0, up)
        if seen < 0.1:
            continue
        under = pose.part((x, y - 0.8 * size[1]), (size[0] * seen * 0.9, size[1] * 0.6))
        paint_part(rng, canvas, under, skin * 0.62, light, soft=0.05 * pose.scale)
        paint_part(
            rng,
            canvas,
            pose.part((x, y), (size[0] * seen, size[1])),
            floats(np.minimum(colour, 1)),
            gloss,
            soft=0.02 * pose.scale,
        )


def _brow(
    rng: Rng, canvas: Floats, pose: _Pose, center: tuple[float, float], *, wide: float, dye: Floats
) -> None:
    """Some short hairs above an eye."""
    count = 90
    along = rng.uniform(-0.5, 0.5, count)
    y = pose.y - (center[1] - 0.25 * along**2 + rng.normal(0, 0.012, count)) * pose.scale
    colour = floats(np.broadcast_to(dye * 0.45, (count, 3)))
    draw_strands(
        rng,
        canvas,
        Curves(
            y=floats(y),
            x=floats(pose.x + (center[0] + along * wide) * pose.scale),
            angle=floats(rng.normal(np.pi / 2, 0.6, count)),
            length=floats(np.full(count, 0.07 * pose.scale)),
            bend=floats(rng.normal(0, 0.4, count)),
            width=floats(np.full(count, max(0.5, pose.scale / 180))),
            root=colour,
            tip=colour,
        ),
    )
