"""`python -m dimtool train` in several processes: the same model as in one."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def test_two_processes_train_as_one(
    log: Callable[..., Any], launch: Any, undisturbed: Path, tmp_path: Path
) -> None:
    """At the same batch of both together; also when they are stopped, and go on."""
    out = tmp_path / "run"
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "dimtool")
    process = launch(out, launcher=torchrun)
    process.wait_for_step(out, 1, 4)
    os.killpg(process.pid, signal.SIGTERM)
    ended = process.ended()
    assert ended.code != 0
    stopped = {line for line in ended.lines if line.startswith("dimtool: ")}
    assert len(stopped) == 1, "they stopped after different steps"
    assert stopped.pop().startswith("dimtool: stopped at step ")

    ended = launch(out, launcher=torchrun).ended()
    assert ended.code == 0
    assert ended.out.startswith(f"{out}/model.safetensors, validation SAD ")
    assert ended.out.count("next: ") == 1
    ours, theirs = (np.array(log(each, 3), np.float64) for each in (out, undisturbed))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)  # NaN where a row has no such value


# Where a process has a folder of its own, as on machines without a common disk: all but the main one's stays
# as it is. Both compile the step.
_APART = """
import os, sys
folders = sys.argv[1:3]
del sys.argv[1:3]
os.chdir(folders[int(os.environ["RANK"])])
from dimtool.cli import main
main()
"""


def test_a_process_without_the_folder_goes_on_from_the_main_one_s(
    log: Callable[..., Any], launch: Any, undisturbed: Path, tmp_path: Path
) -> None:
    """It has an old checkpoint of its own there, which nobody asks for."""
    for name, last in (("main", 9), ("other", 3)):
        shutil.copytree(undisturbed, tmp_path / name / "run")
        for path in (tmp_path / name / "run" / "checkpoints").iterdir():
            if path.name > f"stage1-step{last:08}":
                shutil.rmtree(path)
    (tmp_path / "script.py").write_text(_APART)
    before = sorted(path.name for path in (tmp_path / "other").rglob("*"))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    words = [*launcher, tmp_path / "script.py", tmp_path / "main", tmp_path / "other"]
    ended = launch(Path("run"), "--stage", 1, "--compile", launcher=tuple(map(str, words))).ended()
    assert ended.code == 0, ended
    ours, theirs = (np.array(log(each, 1), np.float64) for each in (tmp_path / "main" / "run", undisturbed))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert sorted(path.name for path in (tmp_path / "other").rglob("*")) == before


def test_processes_of_different_options_end_in_one_line(launch: Any, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\nsys.argv += ['--seed', os.environ['RANK']]\nfrom dimtool.cli import main\nmain()\n"
    )
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script))
    ended = launch(tmp_path / "run", launcher=launcher).ended()
    assert ended.code != 0
    (line,) = [line for line in ended.lines if line.startswith("dimtool: ")]
    assert "do not agree: seed is 0 for process 0 and 1 for process 1" in line
    assert not (tmp_path / "run").exists()
