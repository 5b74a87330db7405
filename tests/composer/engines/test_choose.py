"""--engine, --address, --jobs: which engine they give, and what they say where they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dimtool.composer.engines.choose import chosen_engine, places
from dimtool.composer.engines.local import LocalProcesses


def test_this_machine_is_the_default() -> None:
    with chosen_engine("local", jobs=3) as engine:
        assert isinstance(engine, LocalProcesses)
        assert places(engine) == 3


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--address", "tcp://127.0.0.1:1"], 2, "--address is that of a cluster: say which by --engine"),
        (["--engine", "dask", "--jobs", "2"], 2, "--jobs is for --engine local"),
        (["--engine", "dask"], 1, "--engine dask needs the --address of a scheduler: start `dask scheduler`"),
        (["--engine", "dask", "--address", "tcp://127.0.0.1:1"], 1, "no Dask scheduler at tcp://127.0.0.1:1"),
        (["--engine", "dask", "--address", "nonsense:"], 1, "no Dask scheduler at nonsense:"),
        (["--engine", "ray", "--address", "127.0.0.1:1"], 1, "no Ray cluster at 127.0.0.1:1"),
    ],
)
def test_one_line_says_what_to_do(
    sources: Path, tmp_path: Path, command: Any, *, options: list[str], code: int, said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    lists = ["--fg-list", sources / "train_fg.txt", "--per-fg", 2, "--out", tmp_path / "shards"]
    outcome = command("build-dataset", *lists, *options)
    assert (outcome.code, outcome.out) == (code, "")
    (line,) = outcome.lines[-1:]
    assert said in line
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_without_the_package_a_line_names_it(
    sources: Path, tmp_path: Path, command: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dimtool.composer.engines.choose.find_spec", lambda _: None)
    lists = ["--fg-list", sources / "train_fg.txt", "--per-fg", 2, "--out", tmp_path / "shards"]
    outcome = command("build-dataset", *lists, "--engine", name)
    assert outcome.code == 1
    assert outcome.lines == [
        f"dimtool: --engine {name} needs a package that is missing: pip install 'dimtool[{name}]'"
    ]
