"""What is in a shard or a folder of shards, as plain values for a table or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...storage.remote import Place
from ...text import count, size, table
from ..shards.index import Index, read_index, versions_text
from ..shards.reader import Shard

_SHOWN = 1000  # rows of a table


def describe(path: Place) -> dict[str, Any]:
    """A shard's header and datasets, or a folder's index. Raises ShardError."""
    return _folder(path) if path.is_dir() else _shard(path)


def as_text(description: dict[str, Any]) -> str:
    """The description as lines and a table."""
    rows = description.get("datasets") or description.get("shards") or []
    more = [f"... and {len(rows) - _SHOWN:,} more: --json lists them all"] if len(rows) > _SHOWN else []
    head = [f"{key}: {value}" for key, value in description.items() if not isinstance(value, list)]
    body = [table(list(rows[0]), [list(row.values()) for row in rows[:_SHOWN]]), *more] if rows else []
    return "\n".join([*head, *([""] if body else []), *body])


def _shard(path: Place) -> dict[str, Any]:
    with Shard(path) as shard:
        height, width = shard.shape
        bytes_ = path.stat().st_size if isinstance(path, Path) else path.state().bytes
        pixels = len(shard) * height * width
        return {
            "shard": str(path),
            "foreground": shard.header.foreground,
            "split": shard.header.split,
            "index": shard.header.index,
            "first composite": shard.header.first,
            "composites": len(shard),
            "size": f"{width} x {height}",
            "file": size(bytes_),
            "bytes per composite pixel": round(bytes_ / max(pixels, 1), 3),
            "background radius": shard.header.background_radius,
            "versions": versions_text([shard.versions]),
            "backgrounds": list(shard.header.backgrounds),
            "datasets": [
                {
                    "dataset": name,
                    "shape": " x ".join(map(str, data.shape)),
                    "type": str(data.dtype),
                    "chunks": shard.storage(name)[0],
                    "stored bytes": shard.storage(name)[1],
                }
                for name, data in shard.datasets.items()
            ],
        }


def _order(index: Index) -> str:
    """Whether the pairs are those of Adobe's rule, and what they are otherwise."""
    if index.order.is_official:
        return "official"
    steps = [f"{had:,} a foreground of the first {foregrounds:,}" for foregrounds, had in index.grown]
    return f"not the official one: begun with {', then '.join(steps)}, then {index.per_fg:,} each"


def _folder(folder: Place) -> dict[str, Any]:
    index = read_index(folder)
    shown = [vars(record) for record in index.shards]
    empty = {key for key in ("label", "reading", "first") if not any(each[key] for each in shown)}
    hidden = {"sha256", "versions"} | empty
    return {
        "folder": str(folder),
        "split": index.split,
        "foregrounds": index.foregrounds,
        "order": _order(index),
        "composites": f"{index.composites:,} of {count(index.asked, 'asked', 'asked')}",
        "files": size(index.bytes),
        "fingerprint": index.fingerprint,
        "versions": versions_text(index.versions),
        "shards": [{key: value for key, value in each.items() if key not in hidden} for each in shown],
    }
