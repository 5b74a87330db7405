"""On a file system without locks a training goes on, and says what to see to."""

from __future__ import annotations

from dimtool.model.runs.config import TrainConfig
from dimtool.model.runs.folder import open_run

NOTE = "there are no locks here: see that no other training works in the same folder"


def test_a_training_without_locks_says_so(config: TrainConfig, without_locks: None) -> None:
    with open_run(config) as run:
        assert run.notes == [NOTE]


def test_with_locks_nothing_is_said(config: TrainConfig) -> None:
    with open_run(config) as run:
        assert run.notes == []
