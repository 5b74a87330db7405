"""Animals and stuffed toys: bodies of several parts with fur, faces, clothes and manes."""

from collections.abc import Callable

import numpy as np

from ...drawing import Floats, Rng, floats, fractal_noise
from ...materials import MATERIALS, material, mottled, patches, plain, spots
from ...palettes import Palette
from ...strands import Strands, draw_strands
from ..bodies import Coat, Light, Part, any_light, cast_shadow, paint_part

Plan = list[tuple[str, Part]]  # roles, from behind to the front


def plush(rng: Rng, shape: tuple[int, int], palette: Palette) -> Floats:
    """One furry animal, whole or partly out of the picture. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    plan = _PLANS[rng.integers(len(_PLANS))](rng, shape)
    light = any_light(rng)
    coat = any_coat(rng)
    fur = material(rng, shape, palette, (plain, plain, mottled, spots, patches)[rng.integers(5)])
    other = floats(palette.pick(rng)) if rng.random() < 0.6 else fur
    lumps = fractal_noise(rng, shape, slope=1.8) * np.float32(rng.uniform(0, 0.05))
    dressed = rng.random() < 0.4
    cloth = material(rng, shape, palette, MATERIALS[rng.integers(len(MATERIALS))])
    for role, part in plan:
        cast_shadow(canvas, part, light, rng.uniform(0.25, 0.6))
        if role == "torso" and dressed:
            _clothe(rng, canvas, part, cloth, light)
            continue
        colour = other if role in ("muzzle", "belly", "ear") else fur
        shorter = 0.45 if role in ("muzzle", "belly") else rng.uniform(0.7, 1.3)
        own = Coat(**{**coat.__dict__, "length": coat.length * shorter})
        paint_part(rng, canvas, part, colour, light, coat=own, lumps=lumps)
        if role == "head":
            head = part
    if rng.random() < 0.45:
        mane(rng, canvas, head, palette, coat)
    face(rng, canvas, head, light, palette)
    if rng.random() < 0.3:
        _band(rng, canvas, head, cloth, light)
    return canvas


def any_coat(rng: Rng) -> Coat:
    """From velvet to shaggy."""
    length = float(np.exp(rng.uniform(np.log(2.5), np.log(30))))
    return Coat(
        length=length,
        width=rng.uniform(0.6, 1.3) * (1 + length / 40),
        wild=rng.uniform(0.1, 0.9),
        curl=rng.choice([0, 0, 0.8, 2.0]) * rng.random(),
        weight=rng.uniform(-0.3, 0.9),
        thick=rng.uniform(1.6, 3.2),
        tips=rng.uniform(0.95, 1.45),
    )


def mane(rng: Rng, canvas: Floats, head: Part, palette: Palette, coat: Coat) -> None:
    """A tuft of long hair on the top of the head."""
    count = int(rng.integers(150, 1500))
    around = rng.normal(np.pi / 2 + rng.normal(0, 0.4), rng.uniform(0.15, 0.6), count)
    out = np.sqrt(rng.random(count)) * 0.95
    dye = palette.pick(rng)
    tone = rng.lognormal(0, 0.22, (count, 1))
    draw_strands(
        rng,
        canvas,
        Strands(
            y=floats(head.y - np.sin(around) * out * head.tall),
            x=floats(head.x + np.cos(around) * out * head.wide),
            angle=floats(around + rng.normal(0, 0.35, count)),
            length=floats(np.maximum(rng.lognormal(0, 0.3, count) * (coat.length + 0.35 * head.tall), 3)),
            bend=floats(rng.normal(rng.normal(0, 0.6), 0.6, count)),
            width=floats(coat.width * rng.uniform(0.5, 1.2, count)),
            root=floats(np.clip(dye * 0.6 * tone, 0, 1)),
            tip=floats(np.clip(dye * 1.25 * tone, 0, 1)),
            curl=rng.choice([0, 0, 1.0]),
            shine=rng.uniform(0, 0.3),
        ),
    )


def face(rng: Rng, canvas: Floats, head: Part, light: Light, palette: Palette) -> None:
    """Eyes that shine, a nose."""
    gloss = Light(**{**light.__dict__, "gloss": 1.0, "ambient": 0.6})
    size = min(head.tall, head.wide)
    aside, up = rng.uniform(0.25, 0.45), rng.uniform(0.05, 0.3)
    look = rng.normal(0, 0.2) * size
    dark = floats(rng.uniform(0.01, 0.12, 3))
    iris = palette.pick(rng)
    for side in (-1, 1):
        eye = size * rng.uniform(0.07, 0.16)
        place = {"y": head.y - up * size, "x": head.x + side * aside * size + look}
        if rng.random() < 0.5:
            paint_part(rng, canvas, Part(**place, tall=eye * 1.5, wide=eye * 1.4), iris, gloss)
        paint_part(rng, canvas, Part(**place, tall=eye, wide=eye), dark, gloss)
    nose = size * rng.uniform(0.08, 0.2)
    low = head.y + size * rng.uniform(0.1, 0.4)
    paint_part(rng, canvas, Part(y=low, x=head.x + 1.4 * look, tall=nose * 0.8, wide=nose), dark, gloss)


def _clothe(rng: Rng, canvas: Floats, part: Part, cloth: Floats, light: Light) -> None:
    """A shirt: no fur, but folds."""
    folds = 1 + 0.35 * np.tanh(fractal_noise(rng, (canvas.shape[0], canvas.shape[1]), slope=1.7))
    bigger = Part(**{**part.__dict__, "tall": part.tall * 1.04, "wide": part.wide * 1.06})
    paint_part(rng, canvas, bigger, np.clip(cloth * folds[..., None], 0, 1), light)


def _band(rng: Rng, canvas: Floats, head: Part, cloth: Floats, light: Light) -> None:
    """A scarf round the neck or a cap."""
    cap = rng.random() < 0.4
    y = head.y - 0.75 * head.tall if cap else head.y + 0.95 * head.tall
    tall = head.tall * (rng.uniform(0.3, 0.5) if cap else rng.uniform(0.12, 0.25))
    part = Part(
        y=y,
        x=head.x,
        tall=tall,
        wide=head.wide * rng.uniform(0.75, 1.05),
        turn=rng.normal(0, 0.15),
        square=2.6,
    )
    cast_shadow(canvas, part, light, 0.4)
    coat = Coat(length=rng.uniform(2, 6), width=0.7, thick=1.0, wild=0.8) if rng.random() < 0.4 else None
    paint_part(rng, canvas, part, cloth, light, coat=coat)


def _sitting(rng: Rng, shape: tuple[int, int]) -> Plan:
    """From the front: ears, body, legs, arms, head."""
    size = min(shape) * rng.uniform(0.17, 0.26)
    y, x = shape[0] * rng.uniform(0.25, 0.4), shape[1] * rng.uniform(0.4, 0.6)
    lean, ear = rng.normal(0, 0.15), rng.uniform(0.3, 0.65)
    long = rng.choice([1.0, 1.0, 2.2])
    torso = Part(y=y + size * 1.9, x=x + lean * size, tall=size * 1.3, wide=size * rng.uniform(0.9, 1.3))
    plan: Plan = []
    for side in (-1, 1):
        place = {"y": y - size * 0.85 * long**0.5, "x": x + side * size * rng.uniform(0.55, 0.9)}
        plan.append(("ear", Part(**place, tall=size * ear * long, wide=size * ear, turn=-side * 0.4)))
    plan.append(("torso", torso))
    if rng.random() < 0.6:
        plan.append(("belly", Part(y=torso.y + 0.2 * size, x=torso.x, tall=size * 0.8, wide=size * 0.6)))
    for side in (-1, 1):
        arm = {"y": y + size * rng.uniform(1.3, 1.9), "x": torso.x + side * size * rng.uniform(0.9, 1.5)}
        plan.append(("arm", Part(**arm, tall=size * 0.85, wide=size * 0.4, turn=side * rng.uniform(0, 1.2))))
        leg = {"y": y + size * rng.uniform(2.6, 3.2), "x": torso.x + side * size * rng.uniform(0.7, 1.4)}
        plan.append(("leg", Part(**leg, tall=size * 0.5, wide=size * 0.7)))
    head = Part(y=y, x=x, tall=size * rng.uniform(0.85, 1.1), wide=size * rng.uniform(0.9, 1.2), turn=lean)
    plan.append(("head", head))
    muzzle = {"y": y + 0.35 * size, "x": x + 0.1 * rng.normal() * size}
    if rng.random() < 0.6:
        plan.append(("muzzle", Part(**muzzle, tall=size * 0.4, wide=size * 0.5)))
    return plan


def _lying(rng: Rng, shape: tuple[int, int]) -> Plan:
    """From the side: a long body, its head to the left or right."""
    size = min(shape[0], shape[1] * 0.8) * rng.uniform(0.18, 0.28)
    side = rng.choice([-1, 1])
    y, x = shape[0] * rng.uniform(0.5, 0.72), shape[1] * 0.5

    def part(away: float, down: float, tall: float, wide: float, turn: float = 0.0) -> Part:
        """`away` towards the head, all in units of `size`."""
        return Part(
            y=y + down * size, x=x + side * away * size, tall=tall * size, wide=wide * size, turn=turn
        )

    up = -rng.uniform(0.3, 1.0)
    out = rng.uniform(1.1, 1.5)
    plan: Plan = [("tail", part(-2.2, -rng.uniform(0, 1), 0.25, 0.7, side * rng.normal(0, 0.8)))]
    plan.append(("torso", part(-0.6, 0, rng.uniform(0.8, 1.2), 1.8)))
    for along in (-1.8, -0.9, 0.5, 1.2):
        plan.append(("leg", part(along, 1, rng.uniform(0.4, 1.0), 0.4, rng.normal(0, 0.4))))
    for away in (-0.5, 0.5):
        plan.append(("ear", part(out + away, up - 0.7, rng.uniform(0.25, 0.6), 0.28, -side * away)))
    plan.append(("head", part(out, up, 0.8, 0.85)))
    return [*plan, ("muzzle", part(out + 0.5, up + 0.25, 0.4, 0.5))]


def _close(rng: Rng, shape: tuple[int, int]) -> Plan:
    """A head that fills the picture, shoulders below it."""
    size = max(shape) * rng.uniform(0.28, 0.42)
    y, x = shape[0] * rng.uniform(0.45, 0.65), shape[1] * rng.uniform(0.3, 0.7)
    plan: Plan = [("torso", Part(y=y + 1.9 * size, x=x, tall=size * 1.2, wide=size * 1.4))]
    for side in (-1, 1):
        plan.append(
            (
                "ear",
                Part(
                    y=y - size * rng.uniform(0.6, 0.9),
                    x=x + side * size * 0.75,
                    tall=size * rng.uniform(0.3, 0.7),
                    wide=size * 0.3,
                    turn=-side * rng.uniform(0, 0.8),
                ),
            )
        )
    plan += [
        ("head", Part(y=y, x=x, tall=size, wide=size * rng.uniform(0.85, 1.1))),
        ("muzzle", Part(y=y + 0.35 * size, x=x, tall=size * 0.35, wide=size * 0.45)),
    ]
    return plan


def _bird(rng: Rng, shape: tuple[int, int]) -> Plan:
    """A neck and a small head on a round body."""
    size = min(shape) * rng.uniform(0.2, 0.3)
    y, x = shape[0] * rng.uniform(0.68, 0.85), shape[1] * rng.uniform(0.4, 0.6)
    lean = rng.normal(0, 0.3)
    long = rng.uniform(0.9, 2.0) * size
    top = y - size * 0.6 - long
    neck = Part(
        y=y - size * 0.4 - long / 2, x=x + lean * long / 2, tall=long * 0.7, wide=size * 0.25, turn=-lean
    )
    head = Part(y=top, x=x + lean * long, tall=size * 0.36, wide=size * 0.42)
    return [("torso", Part(y=y, x=x, tall=size * 0.9, wide=size * 1.3)), ("neck", neck), ("head", head)]


_PLANS: tuple[Callable[[Rng, tuple[int, int]], Plan], ...] = (_sitting, _sitting, _lying, _close, _bird)
