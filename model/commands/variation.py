"""The options of `train` that vary its crops, all off by default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ...options import Share

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--radii-draw",
        type=click.Choice(["even", "log"]),
        default="even",
        show_default=True,
        help="How radii are drawn: log makes 1 to 2 as likely as 10 to 20.",
    ),
    click.option(
        "--uneven-trimaps",
        type=Share(),
        default="0%",
        show_default=True,
        help="Share of trimaps as if painted by hand: changing widths, strokes, patches.",
    ),
    click.option(
        "--recompose",
        type=Share(),
        default="0%",
        show_default=True,
        help="Share of crops over another composite's background.",
    ),
    click.option(
        "--join",
        type=Share(),
        default="0%",
        show_default=True,
        help="Share of crops with a second foreground behind the first.",
    ),
    click.option(
        "--zoom",
        type=click.FloatRange(min=1),
        default=1.0,
        show_default=True,
        help="Cut out up to so many times less or more.",
    ),
    click.option(
        "--turn",
        type=click.FloatRange(0, 45),
        default=0.0,
        show_default=True,
        help="Turn crops by up to so many degrees.",
    ),
    click.option(
        "--colour",
        type=click.FloatRange(0, 2),
        default=0.0,
        show_default=True,
        help="Change colours, how strongly: 1 is strong.",
    ),
    click.option(
        "--noise",
        type=click.FloatRange(0, 50),
        default=0.0,
        show_default=True,
        help="Noise on the network's input, up to so many levels.",
    ),
    click.option(
        "--jpeg",
        type=Share(),
        default="0%",
        show_default=True,
        help="Share of the network's inputs out of a JPEG.",
    ),
)


def variation_options(command: Command) -> Command:
    """Give a command the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
