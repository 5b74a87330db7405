"""The large drawn set: the same bytes whatever the jobs, kills and order; kinds; lists; what it refuses."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from dimtool.composer.demo.backgrounds.settings import SETTINGS
from dimtool.composer.demo.foregrounds.kinds import KINDS
from dimtool.composer.demo.pictures import Picture
from dimtool.composer.demo.training_set import HELD_BACK, RECORD, DrawnSet, draw_set
from dimtool.composer.engines.local import LocalProcesses
from dimtool.composer.sources.lists import Lists
from dimtool.composer.sources.manifest import read_manifest

SMALL = {"foregrounds": 7, "backgrounds": 5, "per_fg": 3, "size": 96, "seed": 4}
ALONE = LocalProcesses(workers=1)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def lines(path: Path) -> list[str]:
    return path.read_bytes().decode().split("\n")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DrawnSet]:
    folder = tmp_path_factory.mktemp("drawn") / "set"
    return folder, draw_set(folder, engine=ALONE, **SMALL)


class TestRepetition:
    def test_two_jobs_give_the_same_bytes(self, drawn: tuple[Path, DrawnSet], tmp_path: Path) -> None:
        draw_set(tmp_path, engine=LocalProcesses(workers=2), **SMALL)
        assert digests(tmp_path) == digests(drawn[0])

    def test_a_smaller_set_is_added_to(self, drawn: tuple[Path, DrawnSet], tmp_path: Path) -> None:
        first = draw_set(tmp_path, engine=ALONE, **(SMALL | {"foregrounds": 3, "backgrounds": 2}))
        second = draw_set(tmp_path, engine=ALONE, **SMALL)
        assert (first.drawn, first.kept) == (5, 0)
        assert (second.drawn, second.kept) == (7, 5)
        assert digests(tmp_path) == digests(drawn[0])

    def test_another_seed_gives_other_pictures(self) -> None:
        one, other = (Picture(seed=seed, size=96, number=3, is_background=False).draw()[1] for seed in (0, 1))
        assert one.shape != other.shape or (one != other).any()

    def test_a_killed_run_goes_on_and_keeps_what_it_had(
        self, drawn: tuple[Path, DrawnSet], tmp_path: Path
    ) -> None:
        """kill -9 of the whole process group at work; then what is there is whole, and is not drawn again."""
        options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
        command = [sys.executable, "-m", "dimtool", "draw-set", str(tmp_path / "set"), "--jobs=2", *options]
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        try:
            while len(list((tmp_path / "set").glob("[fb]g/*.jpg"))) < 3 and process.poll() is None:
                time.sleep(0.02)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        (tmp_path / "set" / ".parts-0").mkdir(exist_ok=True)
        (tmp_path / "set" / ".parts-0" / ".plush-00000.jpg.abc.part").write_bytes(b"begun")
        whole = digests(drawn[0])
        before = {name: held for name, held in digests(tmp_path / "set").items() if not name.endswith("part")}
        assert before.items() <= whole.items()
        again = draw_set(tmp_path / "set", engine=ALONE, **SMALL)
        assert again.kept >= 2
        assert digests(tmp_path / "set") == whole


class TestPictures:
    def test_every_kind_occurs_as_its_share_has_it(self) -> None:
        for behind, kinds in ((False, KINDS), (True, SETTINGS)):
            drawn = Counter(
                Picture(seed=0, size=96, number=n, is_background=behind).kind for n in range(1000)
            )
            total = sum(share for _, share in kinds.values())
            for name, (_, share) in kinds.items():
                assert drawn[name] == pytest.approx(1000 * share / total, abs=4), name

    def test_foregrounds_and_alphas_match(self, drawn: tuple[Path, DrawnSet]) -> None:
        folder, _ = drawn
        names = sorted(path.stem for path in (folder / "fg").iterdir())
        assert names == sorted(path.stem for path in (folder / "alpha").iterdir())
        for name in names:
            foreground, alpha = pixels(folder / f"fg/{name}.jpg"), pixels(folder / f"alpha/{name}.png")
            assert foreground.shape == (*alpha.shape, 3)
            assert alpha.max() > 60


class TestLists:
    def test_they_are_what_a_build_reads(self, drawn: tuple[Path, DrawnSet]) -> None:
        folder, summary = drawn
        manifest = read_manifest(Lists(fg_list=folder / "train_fg.txt", per_fg=3))
        assert not manifest.failures
        assert len(manifest.entries) == summary.train_foregrounds == 7
        assert all(entry.alpha.suffix == ".png" for entry in manifest.entries)
        assert all(len(set(entry.backgrounds)) == 3 for entry in manifest.entries)
        assert not (folder / "train_fg.txt").read_bytes().endswith(b"\n")

    def test_one_in_25_is_held_back_with_backgrounds_of_its_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dimtool.composer.demo.training_set._draw", lambda *_: 0)
        summary = draw_set(tmp_path, engine=ALONE, foregrounds=120, backgrounds=76, per_fg=5)
        assert (summary.train_foregrounds, summary.val_foregrounds) == (116, 4)
        assert (summary.train_backgrounds, summary.val_backgrounds) == (73, 3)
        for what in ("fg", "bg"):
            train, val = (lines(tmp_path / f"{split}_{what}.txt") for split in ("train", "val"))
            assert not set(train) & set(val)
            assert {int(name[-9:-4]) % HELD_BACK for name in val} == {HELD_BACK - 1}
        assert len(lines(tmp_path / "train_bg.txt")) == 116 * 5
        assert str(summary).count("next: dimtool build-dataset --fg-list") == 2
        assert str(summary).count("--per-fg 5 --alpha-max 255") == 2

    def test_many_backgrounds_have_their_foregrounds_palette(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dimtool.composer.demo.training_set._draw", lambda *_: 0)
        draw_set(tmp_path, engine=ALONE, foregrounds=60, backgrounds=300, per_fg=4)
        alike = 0
        behind = lines(tmp_path / "train_bg.txt")
        for place, name in enumerate(lines(tmp_path / "train_fg.txt")):
            own = Picture(seed=0, size=512, number=int(name[-9:-4]), is_background=False).palette
            for other in behind[4 * place : 4 * place + 4]:
                number = int(other[-9:-4])
                alike += Picture(seed=0, size=512, number=number, is_background=True).palette == own
        assert 0.2 < alike / len(behind) < 0.55


class TestRefusal:
    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"seed": -1}, "seed is -1"),
            ({"size": 95}, "size is 95"),
            ({"size": 2049}, "size is 2049"),
            ({"foregrounds": 0}, "foregrounds is 0"),
            ({"backgrounds": 0}, "backgrounds is 0"),
            ({"per_fg": 0}, "per_fg is 0"),
        ],
    )
    def test_wrong_arguments(self, tmp_path: Path, wrong: dict[str, int], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            draw_set(tmp_path / "set", engine=ALONE, **(SMALL | wrong))
        assert not (tmp_path / "set").exists()

    def test_a_folder_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "holiday.jpg").write_text("mine")
        with pytest.raises(ValueError, match=r"holiday\.jpg is not part of a drawn set"):
            draw_set(tmp_path, engine=ALONE, **SMALL)
        assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]

    @pytest.mark.parametrize("change", [{"seed": 5}, {"size": 100}])
    def test_a_set_of_another_seed_or_size(self, tmp_path: Path, change: dict[str, int]) -> None:
        (tmp_path / RECORD).write_text('{"edition": 3, "seed": 4, "size": 96}')
        with pytest.raises(ValueError, match="another seed, size or edition"):
            draw_set(tmp_path, engine=ALONE, **(SMALL | change))

    def test_a_file_where_the_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "set").write_text("mine")
        with pytest.raises(ValueError, match="set is a file"):
            draw_set(tmp_path / "set", engine=ALONE, **SMALL)

    def test_another_run_is_at_work(self, tmp_path: Path) -> None:
        code = (
            "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire()\n"
            "print('held', flush=True); time.sleep(60)"
        )
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / ".lock")], stdout=subprocess.PIPE, text=True
        )
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            with pytest.raises(ValueError, match="another run draws into"):
                draw_set(tmp_path, engine=ALONE, **SMALL)
        finally:
            holder.kill()
            holder.communicate()
