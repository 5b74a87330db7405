"""Pages to look at: static HTML from templates, with the shared style."""

from __future__ import annotations

import jinja2

from ..text import count, duration, size


def environment() -> jinja2.Environment:
    """The templates, with what all pages use; autoescaped, and a name that is missing is an error."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("dimtool.composer"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"counted": count, "duration": duration, "size": size, "thousands": "{:,}".format}
    return found
