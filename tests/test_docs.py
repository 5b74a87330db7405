"""The documents: links that lead somewhere, commands as they are, the pages of `make docs`."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest

from dimtool import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path.relative_to(ROOT)
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("manifests/*.md")]
)


# ---- links -------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """What a link can name in a page: its headings, as code hosts write them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead(page: Path) -> list[str]:
    """The links of a page that lead nowhere; of other hosts only that they are https."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        parts = urlsplit(link)
        target = page.parent / unquote(parts.path) if parts.path else page
        if parts.scheme:
            good = parts.scheme == "https"
        else:
            good = target.exists() and (not parts.fragment or parts.fragment in anchors(target))
        found += [] if good else [link]
    return found


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert dead(ROOT / page) == []


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "# A b\n[1](b.md) [2](a.md#a-b) [3](#c) [4](http://x.org) [5](https://x.org)"
    )
    assert dead(tmp_path / "a.md") == ["b.md", "#c", "http://x.org"]


def test_every_document_can_be_come_to_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page in seen:
            continue
        seen.add(page)
        links = re.findall(r"\]\(([^)\s#]+\.md)", page.read_text())
        waiting += [page.parent / link for link in links if "://" not in link]
    assert {ROOT / page for page in PAGES} - seen <= {ROOT / "CHANGELOG.md", ROOT / "docs/package.md"}


# ---- commands ----------------------------------------------------------------------------------------------


def commands(page: Path) -> Iterator[str]:
    """The commands of dimtool in a page's blocks for a shell."""
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["dimtool"]:
                yield line.strip()


TYPED = [(page, line) for page in PAGES for line in commands(ROOT / page)]


def test_there_are_commands_to_look_at() -> None:
    assert len(TYPED) > 40


@pytest.mark.parametrize(("page", "line"), TYPED, ids=[f"{page}: {line}" for page, line in TYPED])
def test_a_command_has_the_options_that_a_page_gives_it(page: Path, line: str) -> None:
    words = [each for each in shlex.split(line, comments=True)[1:] if each != "..."]
    words = words[: words.index(">")] if ">" in words else words
    with click.Context(cli.cli, info_name="dimtool") as root:
        name, command, arguments = cli.cli.resolve_command(root, words)
        assert command is not None
        context = command.make_context(name, arguments, parent=root, resilient_parsing=True)
        _, left, _ = command.make_parser(context).parse_args(list(arguments))
    assert left == []


# ---- make docs ---------------------------------------------------------------------------------------------


class _Links(HTMLParser):
    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.names |= {str(values["id"])} if "id" in values else set()
        link = values.get("href") or values.get("src")
        self.links += [link] if link else []


def test_the_links_of_the_reference_lead_somewhere(tmp_path: Path) -> None:
    """Of a part of it: the whole takes twenty times as long, and is made in the same way."""
    pytest.importorskip("pdoc")
    public = re.search(r"^PUBLIC := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert public is not None
    parts = [f"dimtool.composer.{part}" for part in ("shards", "pixels", "trimaps")]
    modules = [
        *parts,
        *(each for each in shlex.split(public[1]) if each not in ("dimtool.composer", "dimtool.model")),
    ]
    words = ["-m", "pdoc", "--docformat", "markdown", "--output-directory", tmp_path, *modules]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    pages = {path.relative_to(tmp_path): _Links(path) for path in tmp_path.rglob("*.html")}
    assert {
        Path("dimtool.html"),
        Path("dimtool/metrics.html"),
        Path("dimtool/composer/trimaps.html"),
    } <= pages.keys()
    assert len(pages) > 12
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (
                (tmp_path / path.parent / unquote(parts.path)).resolve().relative_to(tmp_path)
                if parts.path
                else path
            )
            assert target in pages, f"{path}: {link}"
            assert not parts.fragment or unquote(parts.fragment) in pages[target].names, f"{path}: {link}"
