"""Build anew exactly the shards that a verification found bad, and verify those again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .build import Reporter, build_dataset
from .check_shard import ShardTask, check_shard
from .engine import Engine
from .findings import REPAIRABLE, Finding
from .index import read_index
from .verify import Verification


@dataclass(frozen=True, kw_only=True)
class Repair:
    """rebuilt: the shards built anew. findings: what is still wrong: what building anew could not mend."""

    rebuilt: tuple[str, ...]
    findings: tuple[Finding, ...]


def repair_shards(verification: Verification, *, engine: Engine, reporter: Reporter) -> Repair:
    """Rebuild the shards with findings that building anew mends, and check them again, wholly.

    Changed sources, other decoders, duplicates and faults of the lists are left: mending those would make
    another data set. A folder whose sources are not there is left as it is. Raises what the build raises.
    """
    left = [finding for finding in verification.findings if not _of_a_shard(finding)]
    rebuilt: list[str] = []
    for report in verification.folders:
        bad = [
            each for each in verification.findings if each.folder == str(report.folder) and _of_a_shard(each)
        ]
        names = {finding.shard for finding in bad}
        if report.manifest is None:
            left += bad
        elif names:
            build_dataset(report.manifest, report.folder, engine=engine, reporter=reporter, rebuild=names)
            left += _check_again(report.folder, names, engine)
            rebuilt += [str(report.folder / name) for name in sorted(names)]
    return Repair(rebuilt=tuple(rebuilt), findings=tuple(left))


def _of_a_shard(finding: Finding) -> bool:
    return bool(finding.shard) and finding.check in REPAIRABLE


def _check_again(folder: Path, names: set[str], engine: Engine) -> list[Finding]:
    tasks = [
        ShardTask(folder=folder, record=each) for each in read_index(folder).shards if each.file in names
    ]
    return [finding for report in engine.run(check_shard, tasks) for finding in report.tally.findings]
