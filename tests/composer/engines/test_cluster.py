"""What Dask and Ray share, on a cluster of this process: packs, what is under way, what gets lost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import pytest

from dimtool.composer.engines.cluster import Cluster, Done, WorkersLostError
from dimtool.composer.engines.engine import EngineError
from dimtool.errors import DimtoolError


class Here(Cluster):
    """Runs one task at a time, in this process; a task with a job of `deadly` loses its workers."""

    def __init__(self, slots: int = 2, deadly: Sequence[object] = ()) -> None:
        self._slots, self._deadly = slots, deadly
        self._waiting: deque[tuple[int, Callable[..., Any], tuple[Any, ...]]] = deque()
        self.packs: list[tuple[Any, ...]] = []
        self.most = 0

    def slots(self) -> int:
        return self._slots

    def submit(self, call: Callable[..., Any], packs: Sequence[tuple[Any, ...]]) -> list[Hashable]:
        first = len(self.packs)
        self.packs += packs
        self._waiting.extend((first + i, call, pack) for i, pack in enumerate(packs))
        self.most = max(self.most, len(self._waiting))
        return list(range(first, len(self.packs)))

    def finished(self) -> list[tuple[Hashable, Done[Any] | Exception]]:
        handle, call, pack = self._waiting.popleft()
        if set(pack) & set(self._deadly):
            return [(handle, WorkersLostError())]
        try:
            return [(handle, call(pack))]
        except ValueError as error:
            return [(handle, error)]

    def cancel(self, handles: Iterable[Hashable]) -> None:
        gone = set(handles)
        self._waiting = deque(each for each in self._waiting if each[0] not in gone)

    def on_hosts(self, function: Callable[[Any], Any], job: Any) -> dict[str, Any]:
        return {"here": function(job)}


def test_short_jobs_travel_together_and_few_are_under_way() -> None:
    cluster = Here(slots=3)
    assert sorted(cluster.run(abs, range(-2000, 0))) == list(range(1, 2001))
    assert cluster.most == 6
    assert len(cluster.packs[0]) == 1
    assert max(map(len, cluster.packs)) == 64


def test_long_jobs_travel_alone() -> None:
    cluster = Here()
    list(cluster.run(lambda _: time.sleep(0.06), range(6)))
    assert [len(pack) for pack in cluster.packs] == [1] * 6


def test_jobs_are_asked_for_as_they_are_needed() -> None:
    asked: list[int] = []

    class Jobs(list[int]):
        def __iter__(self) -> Any:
            return (asked.append(each) or each for each in range(100))

    results = Here(slots=2).run(abs, Jobs())
    next(results)
    assert len(asked) == 4


@pytest.mark.parametrize("deadly", [[70], [3, 4, 150]])
def test_a_job_that_kills_its_workers_is_found_in_its_pack(deadly: list[int]) -> None:
    cluster = Here(deadly=deadly)
    results = list(cluster.run(abs, range(200), lost=lambda job: -job))
    assert sorted(results) == sorted(-n if n in deadly else n for n in range(200))


def test_a_job_that_kills_its_workers_is_named() -> None:
    with pytest.raises(EngineError, match="4 workers were lost over 7: see their logs"):
        list(Here(deadly=[7]).run(abs, range(20)))


def test_what_was_done_before_an_error_of_a_pack_is_not_lost() -> None:
    def refuse(job: int) -> int:
        if job == 150:
            raise DimtoolError("no room")
        return job

    cluster, seen = Here(slots=1), list[int]()
    with pytest.raises(DimtoolError, match="no room"):
        seen.extend(cluster.run(refuse, range(500)))
    cluster, seen = Here(slots=1), []
    with pytest.raises(DimtoolError, match="no room"):
        for each in cluster.run(refuse, range(500)):
            seen.append(each)
    assert seen == list(range(150))


def test_an_unexpected_exception_is_raised_and_what_is_under_way_cancelled() -> None:
    cluster = Here(slots=4)
    with pytest.raises(ValueError, match="three"):
        list(cluster.run(int, ["1", "2", "three", *"4" * 20]))
    assert not cluster._waiting
    results = cluster.run(abs, range(50))
    next(results)
    results.close()
    assert not cluster._waiting
