"""Parts of one network into another: the encoder, or whatever fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from ...errors import WrongUseError
from .dim import DeepImageMatting, folded

Part = Literal["all", "encoder", "fitting"]
"""What is taken of a model: all of it, which must fit; of its encoder, or of all its layers, what fits."""

_ENCODER = "encoder_decoder.encoder."


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What `take` did, in names of layers.

    taken: they have the other model's weights. left: they keep their own, since the other model's has another
    shape or it has none, or since they were not asked for.
    """

    taken: tuple[str, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        start = f"{len(self.taken)} layers taken"
        return f"{start}; left as they were: {', '.join(self.left)}" if self.left else start

    @property
    def has_first_stage(self) -> bool:
        """Whether all that stage 1 trains was taken, so that stage 2 has something to refine."""
        return not any(name.startswith("encoder_decoder.") for name in self.left)


def take(model: DeepImageMatting, there: DeepImageMatting, part: Part) -> Taken:
    """Fill `model` in place with another model's weights, as far as `part` asks for them.

    Raises WrongUseError, and changes nothing, where "all" is asked for and the configurations differ, and
    where no layer fits.
    """
    if part == "all" and there.config != model.config:
        raise WrongUseError(
            f"is of {there.config}, not {model.config}: give its options, or take what fits with "
            "--init-part fitting"
        )
    if there.config.normalisation != model.config.normalisation:
        there = folded(there)
    others = dict(there.named_modules())
    taken, left = [], []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            other = others.get(name)
            fits = isinstance(other, nn.Conv2d) and other.weight.shape == layer.weight.shape
            if fits and (part != "encoder" or name.startswith(_ENCODER)):
                # A plain one has no normalisation: the layer keeps its own, fresh.
                layer.load_state_dict(other.state_dict(), strict=type(layer) is type(other))  # type: ignore[union-attr]
                taken.append(name)
            else:
                left.append(name)
    if not taken:
        raise WrongUseError(f"is of {there.config}, and none of its layers fits {model.config}")
    return Taken(taken=tuple(taken), left=tuple(left))
