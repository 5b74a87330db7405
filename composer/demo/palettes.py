"""Colours that go together, by number: what has one palette is hard to tell apart."""

from dataclasses import dataclass

import numpy as np

from .drawing import Floats, Rng, floats, hsv

PALETTES = 48
_ROOT = 20_170  # so that a palette's colours are its own, whatever else is drawn

# Hue, its spread and the saturation's range: what photographs are mostly made of, then what is dyed.
_FAMILIES = (
    (0.08, 0.03, 0.1, 0.6),  # wood, earth, fur, skin
    (0.26, 0.07, 0.2, 0.65),  # leaves
    (0.58, 0.05, 0.1, 0.55),  # sky, water, denim
    (0.10, 0.40, 0.0, 0.12),  # greys
    (0.03, 0.04, 0.4, 0.9),  # reds and oranges
    (0.50, 0.50, 0.3, 0.95),  # anything
)


@dataclass(frozen=True, kw_only=True)
class Palette:
    """A handful of colours, dark to light (n, 3), and an accent (3,)."""

    tones: Floats
    accent: Floats

    def pick(self, rng: Rng) -> Floats:
        """One of its colours, or one between two of them, a little off: (3,)."""
        one, other = rng.integers(len(self.tones), size=2)
        share = np.float32(rng.random() * (rng.random() < 0.4))
        colour = self.tones[one] * (1 - share) + self.tones[other] * share
        if rng.random() < 0.12:
            colour = self.accent
        return floats(np.clip(colour * floats(rng.normal(1, 0.05, 3)), 0.01, 1))

    def dark_to_light(self, rng: Rng, count: int) -> Floats:
        """Some of its colours, the darkest first: (count, 3)."""
        picked = np.stack([self.pick(rng) for _ in range(count)])
        return floats(picked[np.argsort(picked.mean(axis=1))])


def palette(number: int) -> Palette:
    """Palette `number`, 0 to PALETTES - 1: the same colours always."""
    rng = np.random.default_rng([_ROOT, number])
    hue, spread, low, high = _FAMILIES[number % len(_FAMILIES)]
    hue += rng.normal(0, spread)
    tones = [
        hsv(hue + rng.normal(0, spread / 2) + 0.45 * (rng.random() < 0.15), rng.uniform(low, high), value)
        for value in np.linspace(rng.uniform(0.06, 0.3), rng.uniform(0.65, 1), 6)
    ]
    accent = hsv(rng.random(), rng.uniform(0.5, 1), rng.uniform(0.5, 1))
    return Palette(tones=floats(tones), accent=accent)
