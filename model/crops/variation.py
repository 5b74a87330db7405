"""What may be varied in training crops beyond the paper's: options, all of them off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ...errors import WrongUseError


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How crops are varied. Nothing here breaks C = a F + (1 - a) B: the composite is made last.

    Shares are from 0 to 1, of the crops. radii: how a trimap's radii are drawn between the least and the
    greatest, `even` as the paper's peers do, or `log`, by which 1 to 2 is as likely as 10 to 20.
    uneven: share of trimaps as a hand paints them: bands of changing width, strokes, filled patches.
    recompose: share laid over the background of another composite. join: share with a second foreground
    behind the first, one matte of both. zoom: cuts are made up to so many times lesser or greater.
    turn: crops are turned by up to so many degrees either way. colour: how strongly colours are changed,
    of foreground and background, 1 being strong. noise: its greatest standard deviation, in levels; jpeg:
    share compressed so; both on what the network sees, and not on what the losses compare with.
    """

    radii: Literal["even", "log"] = "even"
    uneven: float = 0.0
    recompose: float = 0.0
    join: float = 0.0
    zoom: float = 1.0
    turn: float = 0.0
    colour: float = 0.0
    noise: float = 0.0
    jpeg: float = 0.0

    def __post_init__(self) -> None:
        if self.radii not in ("even", "log"):
            raise WrongUseError(f"radii drawn {self.radii!r}: choose even or log")
        for name in ("uneven", "recompose", "join", "jpeg"):
            if not 0 <= getattr(self, name) <= 1:
                raise WrongUseError(f"{name} is {getattr(self, name):g}: a share of crops is from 0 to 1")
        if not 1 <= self.zoom < math.inf:
            raise WrongUseError(f"a zoom of {self.zoom:g}: at least 1, which leaves cuts as they are")
        if not 0 <= self.turn <= 45:
            raise WrongUseError(f"crops turned by {self.turn:g} degrees: from 0 to 45")
        if not 0 <= self.colour <= 2:
            raise WrongUseError(f"colours changed with a strength of {self.colour:g}: from 0 to 2")
        if not 0 <= self.noise <= 50:
            raise WrongUseError(f"noise of {self.noise:g} levels: from 0 to 50")

    @property
    def wears(self) -> bool:
        """Whether the network may see something else than the composite."""
        return self.noise > 0 or self.jpeg > 0


PLAIN = Variation()
"""Crops as the paper's: nothing is varied."""
