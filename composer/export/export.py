"""export_images(): the folder claimed, the shards handed out, the list and the page written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...errors import WrongUseError
from ...files import LockedError, lock_notes, locked, own_scratch, write_text
from ...progress import Reporter
from ...storage.remote import Place
from ..building.scratch import known_manifest
from ..engines.engine import Engine
from ..hosts import checked_hosts
from ..shards.index import INDEX_NAME, Index, index_digest, read_index
from .layouts import Layout, LayoutName, Row, layout_of
from .pictures import ADVICE, Exported, ExportJob, export_shard
from .readme import readme

README_NAME = "README.md"
_LOCK = ".lock"


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """What to export: a folder of shards, into `out`, as a trainer reads it.

    trimap_radius: how far the trimaps' unknown region reaches to either side, in pixels. sources: a folder
    with the lists, fg/, alpha/ and bg/; None for where the build found them, if they are still there.
    """

    folder: Place
    out: Path
    trimap_radius: int = 10
    layout: LayoutName = "folders"
    sources: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What an export did: composites that are there, pictures written, those kept from before.

    holes: backgrounds that are not whole; why: for want of what. missing: composites that the lists asked for
    and the shards do not have. errors: a line for each shard that could not be exported wholly.
    """

    out: Path
    readme: Path
    composites: int
    written: int
    kept: int
    holes: int
    why: str
    missing: int
    errors: tuple[str, ...]


def export_images(plan: ExportPlan, *, engine: Engine, reporter: Reporter[Exported]) -> ExportSummary:
    """Write a folder of shards as PNG, under the names, in the folders and with the list of a trainer.

    Names are the official ones, `<stem>_<i>.png`. Where a trainer wants the foreground and its matte under
    the name of each composite, these are links where the file system has them. A background is whole where
    the shard keeps all of it or the source images are at hand, else black deep inside the opaque foreground,
    where no composite depends on it. Files that are there from an earlier run of the same export stay. Each
    picture is held against its digest before it is written; a shard that is damaged ends nothing else.
    Raises ShardError where there is no index; WrongUseError where `out` holds another export or something
    else, or the trainer reads no such split.
    """
    index = read_index(plan.folder)
    layout = layout_of(plan.layout, index.split)
    layout.as_list([layout.row(record.label or record.foreground, 0) for record in index.shards])
    mark = _Mark(plan, layout, index)
    mark.refuse_other()
    results: dict[str, Exported] = {}
    folders = [plan.out / folder for folder in layout.folders.values()]
    with (
        _sole_export(plan.out, reporter),
        mark.claimed() as scratch,
        checked_hosts(engine, files=[plan.folder / INDEX_NAME], scratch=scratch, writable=folders) as fit,
    ):
        jobs, why = _jobs(plan, layout, index, scratch)
        reporter.planned(index.composites)
        with closing(fit.run(export_shard, jobs, lost=_died)) as done:
            for each in done:
                reporter.finished(each)
                results[each.file] = each
        whole = [job for job in jobs if not results[job.record.file].error]
        summary = _summary(plan, layout, results, why=why, missing=index.asked - index.composites)
        _write_lists(plan, layout, whole)
        write_text(summary.readme, _readme(plan, layout, index, summary))
    return summary


def _jobs(plan: ExportPlan, layout: Layout, index: Index, scratch: Path) -> tuple[list[ExportJob], str]:
    """A job a shard, and why their sources are not known, where they are not and would be of use."""
    manifest, why = known_manifest(plan.folder, index, plan.sources) if "bg" in layout.folders else (None, "")
    entries = {each.shard_name: each for each in manifest.entries} if manifest else {}
    jobs = [
        ExportJob(
            folder=plan.folder,
            record=record,
            out=plan.out,
            scratch=scratch,
            trimap_radius=plan.trimap_radius,
            layout=layout,
            entry=entries.get(record.file),
        )
        for record in index.shards
    ]
    return jobs, why or "they are not there any more, or have changed since the build"


def _summary(
    plan: ExportPlan, layout: Layout, results: dict[str, Exported], *, why: str, missing: int
) -> ExportSummary:
    done = results.values()
    holes = sum(each.holes for each in done)
    return ExportSummary(
        out=plan.out,
        readme=plan.out / layout.root / README_NAME,
        composites=sum(each.composites for each in done),
        written=sum(each.written for each in done),
        kept=sum(each.kept for each in done),
        holes=holes,
        why=why if holes else "",
        missing=missing,
        errors=tuple(sorted(each.error for each in done if each.error)),
    )


def _readme(plan: ExportPlan, layout: Layout, index: Index, summary: ExportSummary) -> str:
    return readme(
        layout,
        index.split,
        composites=summary.composites,
        holes=summary.holes,
        trimap_radius=plan.trimap_radius,
    )


def _write_lists(plan: ExportPlan, layout: Layout, jobs: Sequence[ExportJob]) -> None:
    if not layout.list_name:
        return
    rows: list[Row] = [layout.row(job.name, number) for job in jobs for number in job.numbers]
    path = plan.out / layout.list_name
    path.parent.mkdir(exist_ok=True)
    write_text(path, layout.as_list(rows))


def _died(job: ExportJob) -> Exported:
    error = f"{job.folder / job.record.file}: the process that read it died of it: {ADVICE}"
    return Exported(file=job.record.file, composites=0, written=0, kept=0, error=error)


@contextmanager
def _sole_export(out: Path, reporter: Reporter[Exported]) -> Iterator[None]:
    """Hold the folder's lock: a second export would take the first one's unfinished files for left-overs."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out / _LOCK) as alone:
            for note in lock_notes(alone, "export"):
                reporter.note(note)
            yield
    except LockedError as error:
        raise WrongUseError(
            f"another export is at work in {out}: wait for it, or choose another OUT"
        ) from error


class _Mark:
    """The file that says which export a folder is; the splits of one layout may share a folder."""

    def __init__(self, plan: ExportPlan, layout: Layout, index: Index) -> None:
        self._out, self._layout = plan.out, layout
        values = {
            "index": index_digest(plan.folder),
            "trimap_radius": plan.trimap_radius,
            **({"layout": plan.layout} if layout.root else {}),
        }
        self._text = json.dumps(values) + "\n"
        self._path = plan.out / (f"export-{index.split}.json" if layout.root else "export.json")

    def refuse_other(self) -> None:
        """Raise WrongUseError, with nothing changed, where another export or something else is there."""
        out, path = self._out, self._path
        if path.exists():
            if path.read_bytes() != self._text.encode():
                raise WrongUseError(
                    f"{out} holds the export of other shards, another radius or another layout: "
                    "choose another OUT"
                )
        elif marks := sorted(out.glob("export*.json")):
            if not all(self._is_a_neighbour(mark) for mark in marks):
                raise WrongUseError(f"{out} holds an export in another layout: choose another OUT")
        elif out.exists() and not all(_is_left_over(each) for each in out.iterdir()):
            raise WrongUseError(f"{out} is not empty and no export of ours: choose another OUT")

    def _is_a_neighbour(self, mark: Path) -> bool:
        """Whether it is that of another split in the same layout."""
        try:
            values = json.loads(mark.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        layout = values.get("layout") if isinstance(values, dict) else None
        return bool(self._layout.root) and layout == self._layout.name

    @contextmanager
    def claimed(self) -> Iterator[Path]:
        """Make the folder this export's, rid of what a killed one left; a folder for unfinished files."""
        if not self._path.exists():
            write_text(self._path, self._text)
        for folder in self._layout.folders.values():
            (self._out / folder).mkdir(parents=True, exist_ok=True)
        for part in self._out.glob(".*.part"):
            part.unlink(missing_ok=True)
        with own_scratch(self._out) as scratch:
            yield scratch


def _is_left_over(path: Path) -> bool:
    return path.name == _LOCK or path.match(".*.part")
