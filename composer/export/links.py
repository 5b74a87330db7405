"""One picture under many names, without its bytes many times."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ...files import part_of


def share(first: Path, path: Path, scratch: Path) -> None:
    """Make `path` the same picture as `first`, beside it: a hard link, else a symbolic one, else a copy.

    scratch: a folder of the same file system for a copy that is under way. Raises OSError where none of the
    three can be made.
    """
    try:
        os.link(first, path)
    except FileExistsError:
        return
    except OSError:  # a file system without them, or as many names as it gives a file
        try:
            path.symlink_to(first.name)
        except OSError:
            with part_of(path, scratch) as part:
                shutil.copyfile(first, part)
