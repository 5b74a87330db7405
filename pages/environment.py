"""Static HTML from templates, with what all pages use."""

from __future__ import annotations

from pathlib import Path

import jinja2

from ..text import count, duration, size


def environment(page: Path) -> jinja2.Environment:
    """The templates beside `page`, a module's file, with the shared style.css and filters.

    Autoescaped, and a name that is missing is an error.
    """
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader([page.parent / "templates", Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"counted": count, "duration": duration, "size": size, "thousands": "{:,}".format}
    return found
