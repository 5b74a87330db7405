"""The options that say how the weights move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ...options import Share

Command = Callable[..., Any]


class Layers(click.ParamType[Any]):
    """`none`, a number of convolutions, or `encoder`."""

    name = "layers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """See click."""
        if value in ("none", "encoder"):
            return 0 if value == "none" else "encoder"
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value} is neither none, encoder, nor a number of convolutions", param, ctx)


_OPTIONS = [
    click.option(
        "--lr-schedule",
        type=click.Choice(["constant", "cosine", "step"]),
        default="constant",
        show_default=True,
        help="Of each stage: cosine ends at rest; step has a tenth after 2/3, a hundredth after 8/9.",
    ),
    click.option(
        "--warmup",
        type=Share(),
        default="0%",
        show_default=True,
        help="The percentage of each stage's steps in which the rate rises.",
    ),
    click.option(
        "--weight-decay",
        type=float,
        default=0.0,
        show_default=True,
        help="Decoupled from the gradients, not on biases; 0 for none.",
    ),
    click.option(
        "--clip",
        type=float,
        default=0.0,
        show_default=True,
        help="The gradient's greatest length; 0 for any.",
    ),
    click.option(
        "--ema",
        type=float,
        default=0.0,
        show_default=True,
        help="Decay of an average of the weights, to validate and to keep; 0 for none.",
    ),
    click.option(
        "--accumulate",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Equal parts of a batch, one after the other, where it does not fit the memory.",
    ),
    click.option(
        "--freeze",
        type=Layers(),
        metavar="none|encoder|N",
        default="none",
        show_default=True,
        help="What learns no more: the encoder, or its first N convolutions.",
    ),
    click.option(
        "--patience",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="End a stage after so many validations in a row without a better one; 0 for never.",
    ),
]


def update_options(command: Command) -> Command:
    """Give a command the options of this file."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
