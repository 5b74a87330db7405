"""The demo's data set on disk: layout, lists, exact repetition, and that nothing foreign is ever touched."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from dimtool.composer.demo import make_demo

KINDS = {"hair", "curtain", "smoke", "glass", "balls", "foliage", "doily", "pinwheel"}
ARGUMENTS = {
    "seed": 3,
    "size": 64,
    "train": 8,
    "test": 2,
    "backgrounds_per_train": 3,
    "backgrounds_per_test": 2,
}
TINY = {"seed": 5, "size": 64, "train": 2, "test": 1, "backgrounds_per_train": 2, "backgrounds_per_test": 1}
LISTS = ("train_fg.txt", "train_bg.txt", "test_fg.txt", "test_bg.txt")


def digests(folder: Path) -> dict[str, str]:
    """Every entry below `folder`, links and folders too, with what it holds."""
    return {
        path.relative_to(folder).as_posix(): (
            f"-> {path.readlink()}"
            if path.is_symlink()
            else hashlib.sha256(path.read_bytes()).hexdigest()
            if path.is_file()
            else "folder"
        )
        for path in folder.rglob("*")
    }


def entries(folder: Path, name: str) -> list[str]:
    return (folder / name).read_bytes().decode().split("\n")


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "not" / "yet"
    make_demo(folder, **ARGUMENTS)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    make_demo(folder, **TINY)
    return folder


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


class TestLayout:
    def test_lists_are_in_adobes_format(self, made: Path) -> None:
        counts = {name: len(entries(made, name)) for name in LISTS}
        assert counts == {"train_fg.txt": 8, "train_bg.txt": 24, "test_fg.txt": 2, "test_bg.txt": 4}
        for name in LISTS:
            content = (made / name).read_bytes()
            assert content
            assert not content.endswith(b"\n")
            assert b"\r" not in content
            assert len(set(entries(made, name))) == counts[name]

    def test_training_and_test_share_nothing(self, made: Path) -> None:
        stems = {name: {Path(entry).stem for entry in entries(made, name)} for name in LISTS}
        assert not stems["train_fg.txt"] & stems["test_fg.txt"]
        assert not stems["train_bg.txt"] & stems["test_bg.txt"]

    def test_the_folder_holds_what_the_lists_name_and_no_more(self, made: Path) -> None:
        foregrounds = entries(made, "train_fg.txt") + entries(made, "test_fg.txt")
        backgrounds = entries(made, "train_bg.txt") + entries(made, "test_bg.txt")
        expected = {*LISTS, "fg", "alpha", "bg", *(f"bg/{name}" for name in backgrounds)}
        expected |= {f"{folder}/{name}" for folder in ("fg", "alpha") for name in foregrounds}
        assert set(digests(made)) == expected

    def test_names_have_what_readers_of_adobes_files_meet(self, made: Path) -> None:
        train, test = entries(made, "train_fg.txt"), entries(made, "test_fg.txt")
        assert train == sorted(train, key=str.casefold)
        assert {name.split("-")[0] for name in train} == KINDS
        assert all(name.endswith(".jpg") for name in train)
        assert all(name.endswith(".png") and " (" in name for name in test)
        assert any(name.startswith("COCO_train2014_000000") for name in entries(made, "train_bg.txt"))

    def test_foreground_and_alpha_match(self, made: Path) -> None:
        sizes = set()
        for name in entries(made, "train_fg.txt"):
            foreground, alpha = pixels(made / "fg" / name), pixels(made / "alpha" / name)
            assert foreground.shape == (*alpha.shape, 3)
            sizes.add(alpha.shape)
        assert len(sizes) > 4
        assert {height > width for height, width in sizes} == {True, False}
        assert any(side % 2 for size in sizes for side in size)

    def test_test_files_are_rgba_with_the_alpha_in_band_0(self, made: Path) -> None:
        for name in entries(made, "test_fg.txt"):
            foreground, alpha = pixels(made / "fg" / name), pixels(made / "alpha" / name)
            assert foreground.shape == alpha.shape == (*alpha.shape[:2], 4)
            assert (foreground[..., 3] == 255).all()
            assert (alpha[..., 3] == 255).all()
            assert np.unique(alpha[..., 0]).size > 100
            assert (alpha[..., :3] == alpha[..., :1]).all()

    def test_training_foregrounds_keep_all_colour_samples(self, made: Path) -> None:
        with Image.open(made / "fg" / entries(made, "train_fg.txt")[0]) as image:
            assert [component[1:3] for component in image.layer] == [(1, 1)] * 3  # 4:4:4

    def test_backgrounds_are_smaller_and_larger_upright_and_not(self, made: Path) -> None:
        foregrounds = [pixels(made / "fg" / name).shape for name in entries(made, "train_fg.txt")]
        backgrounds = [pixels(made / "bg" / name).shape for name in entries(made, "train_bg.txt")]
        least, most = min(map(min, (f[:2] for f in foregrounds))), max(max(f[:2]) for f in foregrounds)
        assert any(max(b[:2]) < most and min(b[:2]) < least for b in backgrounds)
        assert any(max(b[:2]) > most for b in backgrounds)
        assert {b[0] > b[1] for b in backgrounds} == {True, False}

    def test_it_says_what_it_made(self, tmp_path: Path) -> None:
        done: list[tuple[int, int]] = []
        summary = make_demo(tmp_path, **TINY, progress=lambda *state: done.append(state))
        assert done == [(k, 2 + 4 + 1 + 1) for k in range(1, 9)]
        assert (summary.train_foregrounds, summary.train_backgrounds) == (2, 4)
        assert (summary.test_foregrounds, summary.test_backgrounds) == (1, 1)
        paths = summary.train_fg, summary.train_bg, summary.test_fg, summary.test_bg
        assert paths == tuple(tmp_path / name for name in LISTS)
        told = str(summary).splitlines()[1:]
        assert told[0] == f"next: dimtool build-dataset --fg-list {tmp_path / 'train_fg.txt'} --per-fg 2"
        assert told[1].strip() == f"dimtool build-dataset --fg-list {tmp_path / 'test_fg.txt'} --per-fg 1"
        assert all(line.strip().startswith("dimtool ") for line in told[1:])
        assert "2 foregrounds to train on, each for 2 backgrounds" in str(summary)


class TestRepetition:
    def test_the_same_seed_gives_the_same_bytes_on_one_core(self, made: Path, tmp_path: Path) -> None:
        """In another process, after other use of the global generator, with one thread on one core."""
        script = (
            "import os, sys, pathlib, numpy\n"
            "if hasattr(os, 'sched_setaffinity'): os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
            "numpy.random.seed(99); numpy.random.rand(7)\n"
            "from dimtool.composer.demo import make_demo\n"
            f"make_demo(pathlib.Path(sys.argv[1]), **{ARGUMENTS!r})\n"
        )
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
        subprocess.run([sys.executable, "-c", script, tmp_path], check=True, env={**os.environ, **threads})
        assert digests(tmp_path) == digests(made)

    def test_another_seed_gives_other_pictures_under_the_same_names(self, tiny: Path, tmp_path: Path) -> None:
        make_demo(tmp_path, **(TINY | {"seed": 6}))
        one, other = digests(tiny), digests(tmp_path)
        assert one.keys() == other.keys()
        assert {name for name in one if one[name] == other[name]} == {*LISTS, "fg", "alpha", "bg"}

    def test_pictures_do_not_depend_on_how_many_there_are(self, tiny: Path, tmp_path: Path) -> None:
        make_demo(tmp_path, **(TINY | {"train": 3}))
        one, other = digests(tiny), digests(tmp_path)
        assert one["alpha/hair-000.jpg"] == other["alpha/hair-000.jpg"]
        assert one["bg/hills-0000.jpg"] == other["bg/hills-0000.jpg"]

    def test_no_two_backgrounds_are_the_same(self, made: Path) -> None:
        contents = [digest for name, digest in digests(made).items() if name.startswith("bg/")]
        assert len(set(contents)) == len(contents)

    def test_the_global_generator_is_left_alone(self, tmp_path: Path) -> None:
        before = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
        make_demo(tmp_path, **TINY)
        after = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002
        assert (before == after).all()

    def test_making_it_again_changes_nothing(self, copy: Path) -> None:
        times = {path: path.stat().st_mtime_ns for path in copy.rglob("*.*")}
        make_demo(copy, **TINY)
        assert {path: path.stat().st_mtime_ns for path in copy.rglob("*.*")} == times


class TestInterruption:
    @pytest.mark.parametrize("pictures", [1, 6])
    def test_a_second_run_completes_the_first(self, tiny: Path, tmp_path: Path, pictures: int) -> None:
        def stop(done: int, _: int) -> None:
            if done == pictures:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make_demo(tmp_path, **TINY, progress=stop)
        begun, whole = digests(tmp_path), digests(tiny)
        assert begun.items() < whole.items()  # each file there is complete
        assert not set(LISTS) & set(begun)

        (tmp_path / "fg" / ".hair-000.jpg.partial").write_bytes(b"\xff\xd8 begun")
        (tmp_path / "bg" / ".COCO_train2014_000000900003.jpg.partial").write_bytes(b"")
        (tmp_path / ".train_fg.txt.partial").write_text("curtai")
        make_demo(tmp_path, **TINY)
        assert digests(tmp_path) == whole

    def test_a_full_disk_leaves_no_file_under_its_own_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            make_demo(tmp_path, **TINY)
        assert [name for name, held in digests(tmp_path).items() if held != "folder"] == [
            "fg/.curtain-001.jpg.partial"
        ]


class TestRefusal:
    @pytest.mark.parametrize(
        "name", ["notes.txt", "bg/beach.jpg", "fg/old/hair-000.jpg", ".hidden", "train_fg.txt~"]
    )
    def test_a_foreign_file_anywhere(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
        before = digests(tmp_path)
        with pytest.raises(ValueError, match="is not part of this demo"):
            make_demo(tmp_path, **TINY)
        assert digests(tmp_path) == before

    @pytest.mark.parametrize(
        "name", ["fg/curtain-001.jpg", "alpha/curtain-001.jpg", "bg/hills-0000.jpg", "train_bg.txt"]
    )
    def test_a_foreign_file_under_one_of_its_names(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
        with pytest.raises(ValueError, match=f"{Path(name).name} differs from this demo's"):
            make_demo(tmp_path, **TINY)
        assert (tmp_path / name).read_text() == "mine"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"seed": 6}, "differs from this demo's"),
            ({"size": 70}, "differs from this demo's"),
            ({"train": 1}, "is not part of this demo"),
        ],
    )
    def test_another_demo_is_in_the_folder(self, copy: Path, change: dict[str, int], message: str) -> None:
        before = digests(copy)
        with pytest.raises(ValueError, match=message):
            make_demo(copy, **(TINY | change))
        assert digests(copy) == before

    @pytest.mark.parametrize("name", ["fg", "train_fg.txt", "bg/hills-0000.jpg"])
    @pytest.mark.parametrize("dangling", [True, False])
    def test_links_are_not_followed(self, tmp_path: Path, name: str, dangling: bool) -> None:
        target, folder = tmp_path / "elsewhere", tmp_path / "demo"
        if not dangling:
            target.mkdir()
        (folder / name).parent.mkdir(parents=True)
        (folder / name).symlink_to(target)
        before = digests(tmp_path)
        with pytest.raises(ValueError, match="is not part of this demo"):
            make_demo(folder, **TINY)
        assert digests(tmp_path) == before

    def test_a_file_where_the_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "demo").write_text("mine")
        with pytest.raises(ValueError, match="demo is a file"):
            make_demo(tmp_path / "demo", **TINY)
        assert (tmp_path / "demo").read_text() == "mine"

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"seed": -1}, "seed is -1"),
            ({"size": 63}, "size is 63"),
            ({"size": 4097}, "size is 4097"),
            ({"train": 0}, "train is 0"),
            ({"test": -2}, "test is -2"),
            ({"backgrounds_per_train": 0}, "backgrounds_per_train is 0"),
            ({"backgrounds_per_test": 0}, "backgrounds_per_test is 0"),
        ],
    )
    def test_wrong_arguments_make_nothing(self, tmp_path: Path, wrong: dict[str, int], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            make_demo(tmp_path / "demo", **(TINY | wrong))
        assert not (tmp_path / "demo").exists()
