"""TensorBoard's files of a run: what comes again after a restart is taken out of them."""

from __future__ import annotations

import re
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from ...files import part_of

_TAG = re.compile(r"stage(\d+)/")


def rewind_events(folder: Path, last: tuple[int, int]) -> None:
    """Take out of the event files under `folder` what was logged after `last`, a stage and a step of it.

    A reader would show those steps twice: TensorBoard's own mark for a restart knows no stages. A record that
    a killed process left half written ends its file.
    """
    for path in folder.rglob("events.out.tfevents.*"):
        events = list(LegacyEventFileLoader(str(path)).Load())
        kept = [event for event in events if _place(event) <= last]
        if len(kept) < len(events):
            with part_of(path) as part, part.open("wb") as stream:
                writer = RecordWriter(stream)
                for event in kept:
                    writer.write(event.SerializeToString())


def _place(event: Event) -> tuple[int, int]:
    """The stage and step that an event tells of; before all where it tells of none."""
    stages = [int(found[1]) for value in event.summary.value if (found := _TAG.match(value.tag))]
    return (max(stages), event.step) if stages else (0, 0)
