"""A verification that was cut short goes on: what it found of each shard is kept until it ends."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...storage.remote import Place
from ..building.stamps import stamp_of
from ..shards.layout import VERSION, current_versions
from .check_shard import ShardFacts, ShardReport
from .findings import Finding, Tally
from .subject import ShardTask


class Notebook:
    """Reports of the shards that a verification of `folders` has done.

    In the user's cache, not beside the shards: those may lie where nobody may write, and come from others.
    A report is believed only of the same task, with the shard and all its sources as they were, by size,
    time and inode. Where the cache cannot be written, a verification begins anew.
    """

    def __init__(self, folders: Sequence[Place]) -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
        named = "\0".join(sorted(str(folder.resolve()) for folder in folders))
        self.path = cache / "dimtool" / f"verify-{hashlib.sha256(named.encode()).hexdigest()[:16]}.jsonl"

    def known(self, tasks: Sequence[ShardTask]) -> list[ShardReport]:
        """What a run that was cut short found of these tasks."""
        lines, found = dict(self._lines()), []
        for task in tasks if lines else ():
            with suppress(OSError, KeyError, TypeError, ValueError):
                found.append(_report(task, lines[_key(task)]))
        return found

    def _lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        with suppress(OSError):
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(TypeError, ValueError, RecursionError):
                    key, values = json.loads(line)
                    yield key, values

    def add(self, task: ShardTask, report: ShardReport) -> None:
        """Keep a report; not that of a shard whose files are not all there."""
        with suppress(OSError):
            line = json.dumps([_key(task), _values(report)]) + "\n"
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(line)

    def discard(self) -> None:
        """It has come to its end: the next one looks at everything."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def _key(task: ShardTask) -> str:
    """What stands for a task and all that it will look at. Raises OSError."""
    entry = task.entry
    sources = () if entry is None else (entry.foreground, entry.alpha, *entry.backgrounds)
    stamps = [stamp_of(path) for path in (task.folder / task.record.file, *sources)]
    parts = [repr(replace(task, folder=task.folder.resolve())), stamps, current_versions(), VERSION]
    return hashlib.sha256(repr(parts).encode(errors="surrogateescape")).hexdigest()


def _values(report: ShardReport) -> dict[str, Any]:
    """A report without its task, as JSON takes it."""
    facts = None
    if report.facts is not None:
        facts = {
            **asdict(report.facts),
            "foreground_digest": report.facts.foreground_digest.hex(),
            "alpha_digest": report.facts.alpha_digest.hex(),
            "background_digests": [each.hex() for each in report.facts.background_digests],
            "alpha_histogram": report.facts.alpha_histogram.tolist(),
        }
    findings = [asdict(finding) for finding in report.tally.findings]
    return {"findings": findings, "tried": report.tally.tried, "facts": facts}


def _report(task: ShardTask, values: dict[str, Any]) -> ShardReport:
    tally = Tally([Finding(**each) for each in values["findings"]], Counter(values["tried"]))
    facts = values["facts"] and ShardFacts(**_facts(values["facts"]))
    return ShardReport(folder=task.folder, record=task.record, tally=tally, facts=facts)


def _facts(values: dict[str, Any]) -> dict[str, Any]:
    perceptual = values["perceptual"]
    return {
        **values,
        "backgrounds": tuple(values["backgrounds"]),
        "foreground_digest": bytes.fromhex(values["foreground_digest"]),
        "alpha_digest": bytes.fromhex(values["alpha_digest"]),
        "background_digests": tuple(map(bytes.fromhex, values["background_digests"])),
        "perceptual": None if perceptual is None else tuple(perceptual),
        "alpha_histogram": np.array(values["alpha_histogram"], np.int64),
        "enlarged": tuple(values["enlarged"]),
    }
