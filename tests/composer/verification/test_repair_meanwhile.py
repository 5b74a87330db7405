"""Between a verification and its repair lie hours: what another build did in them is not undone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dimtool.composer.shards.index import read_index
from dimtool.composer.verification import repair


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something done between a verification and its repair, just before that takes the lock."""
    sole_builder = repair.sole_builder

    def plan(happens: Callable[[], object]) -> None:
        @contextmanager
        def wait(folder: Path) -> Iterator[Any]:
            happens()
            with sole_builder(folder) as journal:
                yield journal

        monkeypatch.setattr(repair, "sole_builder", wait)

    return plan


def test_what_another_build_added_meanwhile_stays_in_the_index(
    own: Any,
    built: Path,
    mend: Any,
    *,
    damage: Any,
    build: Any,
    edit_index: Any,
    meanwhile: Any,
    visible: Any,
) -> None:
    root, out = own
    (out / "0003-f3.h5").unlink()
    edit_index(out, lambda content: content["shards"].pop())
    os.truncate(out / "0001-f1.h5", 1000)
    meanwhile(lambda: build(root, out))
    _, outcome = mend(out)
    assert outcome["rebuilt"] == [str(out / "0001-f1.h5")]
    assert [record.file for record in read_index(out).shards] == [f"000{i}-f{i}.h5" for i in range(4)]
    assert visible(out) == visible(built)


def test_a_shard_that_is_another_meanwhile_is_left(
    own: Any, mend: Any, damage: Any, edit_index: Any, meanwhile: Any
) -> None:
    _, out = own
    damage(out / "0001-f1.h5", 1)
    damage(out / "0002-f2.h5", 1)
    meanwhile(lambda: edit_index(out, lambda content: content["shards"].pop(1)))
    code, outcome = mend(out)
    assert (code, outcome["rebuilt"]) == (1, [str(out / "0002-f2.h5")])
    assert any(
        "left the index since it was verified: verify again" in each["what"] for each in outcome["findings"]
    )
    assert [record.index for record in read_index(out).shards] == [0, 2, 3]
