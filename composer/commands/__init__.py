"""The commands of the composer half: each parses, calls one function and prints.

Nothing but click is imported at their top: `dimtool --help` must answer at once.
"""

from .build import build_dataset_command, make_demo_command, make_lists_command
from .draw import draw_set_command
from .look import export_command, inspect_command
from .trimap import trimap_command
from .verify import verify_command

COMMANDS = (
    make_demo_command,
    draw_set_command,
    make_lists_command,
    build_dataset_command,
    verify_command,
    inspect_command,
    export_command,
    trimap_command,
)
