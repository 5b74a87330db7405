"""The folder of a report: nothing of others is touched, an earlier report is replaced whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dimtool.errors import WrongUseError

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from dimtool.composer.report import gallery as report_gallery
from dimtool.composer.report import page as report
from dimtool.composer.report.page import INDEX, write_report


def test_files_of_others_are_never_touched(sound_set: Any, tmp_path: Path, desk: Any) -> None:
    verification = desk.verify(sound_set.shards, quick=True)
    (tmp_path / INDEX).write_text("mine")
    with pytest.raises(WrongUseError, match="files that are no report: name a new or an empty folder"):
        write_report(verification, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [INDEX]
    with pytest.raises(WrongUseError, match="is a file"):
        write_report(verification, tmp_path / INDEX)
    assert (tmp_path / INDEX).read_text() == "mine"


def test_an_earlier_report_is_replaced(
    sound_set: Any, copied_set: Any, tmp_path: Path, without_plots: None, desk: Any
) -> None:
    shard = copied_set.shards / "0002-f2.h5"
    desk.repaint(shard, 1, desk.PLANTED)
    folder = tmp_path / "new" / "report"
    write_report(desk.verify(copied_set.shards), folder)
    before = {path.name for path in (folder / "images").iterdir()}
    (folder / "images" / "mine.png").write_text("mine")
    shutil.copy(sound_set.shards / shard.name, shard)
    desk.repaint(copied_set.shards / "0000-f0.h5", 1, {(1, 1): 1})
    page = desk.read(write_report(desk.verify(copied_set.shards), folder))
    assert page.titles[0] == "f0.png"
    after = {path.name for path in (folder / "images").iterdir()}
    assert before & after  # equal pictures keep their names
    assert before - after  # and what nothing leads to any more is gone
    assert (folder / "images" / "mine.png").read_text() == "mine"
    (folder / "images" / "mine.png").unlink()
    desk.check_files(page)


def test_a_page_that_is_not_finished_is_not_seen(
    sound_set: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_plots: None, desk: Any
) -> None:
    verification = desk.verify(sound_set.shards, quick=True)
    old = desk.read(write_report(verification, tmp_path / "old"))

    def fail(folders: object, assets: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "plot_distributions", fail)
    monkeypatch.setattr(report_gallery, "COMPOSITES", 1)  # other pictures
    for folder in ("old", "new"):
        with pytest.raises(OSError, match="No space"):
            write_report(verification, tmp_path / folder)
    assert (tmp_path / "old" / INDEX).read_text(encoding="utf-8") == old.source
    desk.check_files(old)
    assert not (tmp_path / "new" / INDEX).exists()
    monkeypatch.undo()
    write_report(verification, tmp_path / "new")  # what was begun is taken up


def test_the_same_set_gives_the_same_pictures(
    sound_set: Any, tmp_path: Path, contents: Any, desk: Any
) -> None:
    for name in ("a", "b"):
        write_report(desk.verify(sound_set.shards, quick=True), tmp_path / name)
    assert contents(tmp_path / "a" / "images") == contents(tmp_path / "b" / "images")
