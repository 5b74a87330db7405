"""How far each stage of a run came, of how many steps: stages.json in the run's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ...files import write_text

STAGES_NAME = "stages.json"


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """Steps of a stage: how many it is to have, and how many are done."""

    planned: int
    done: int


def read_stages(folder: Path) -> dict[int, StageRecord]:
    """The records of a run's stages; none of a run that has no record yet, or a broken one."""
    try:
        there = json.loads((folder / STAGES_NAME).read_text(encoding="utf-8"))
        return {int(stage): StageRecord(**values) for stage, values in there.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_stage(folder: Path, stage: int, record: StageRecord) -> None:
    """Replace a stage's record; those of later stages go, since they would come again."""
    records = {number: each for number, each in read_stages(folder).items() if number < stage}
    content = {str(number): asdict(each) for number, each in {**records, stage: record}.items()}
    write_text(folder / STAGES_NAME, json.dumps(content) + "\n")
