"""What the processes of a training agree on, in two real ones, and what is refused before they begin."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import distributed

from dimtool.errors import DimtoolError, WrongUseError
from dimtool.model.processes.failures import PeerError, SharedError, end_of_a_peer_told
from dimtool.model.processes.launching import launch
from dimtool.model.processes.ranks import PATIENCE, Ranks


class BrokenError(DimtoolError):
    exit_code = 7


def _break(message: str) -> None:
    raise BrokenError(message)


def _attempt(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except DimtoolError as error:
        return type(error).__name__, str(error), error.exit_code


def _script(rank: int) -> Iterator[Any]:
    """What each of two processes finds, question by question."""
    ranks = Ranks()
    yield (ranks.index, ranks.count, ranks.main)
    yield ranks.each(lambda: rank)
    yield ranks.main_finds(lambda: f"of {rank}")
    yield ranks.most([rank, -rank, 5])
    yield _attempt(lambda: ranks.main_does(lambda: _break("no room")))
    yield _attempt(lambda: ranks.each(lambda: _break("gone") if rank else None))
    yield _attempt(lambda: ranks.each(lambda: _break(f"gone for {rank}")))
    yield _attempt(lambda: ranks.agree({"seed": 3, "torch": f"2.{rank}"}))
    yield _attempt(lambda: ranks.agree({"seed": 3}))
    there = {"a": torch.arange(6).view(2, 3) + 0.5, "b": torch.tensor(7, dtype=torch.uint8)}
    own = [torch.tensor([1.0 + rank, 5.0]), torch.tensor(3.0 * rank)]
    ranks.average(own)
    yield [each.tolist() for each in own]
    assert ranks._group is not None
    yield ranks._group._get_backend(torch.device("cpu")).options._timeout
    yield {name: each.tolist() for name, each in ranks.share(there if ranks.main else {}).items()}


def _process(rank: int, port: int, answers: Any) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    answers.send(list(_script(rank)))
    distributed.destroy_process_group()


def test_two_processes_find_the_same() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    ends, processes = [], []
    for rank in range(2):
        ours, theirs = context.Pipe()
        processes.append(context.Process(target=_process, args=(rank, port, theirs)))
        processes[-1].start()
        ends.append(ours)
    answers = [end.recv() if end.poll(100) else None for end in ends]
    for process in processes:
        process.join(30)
    main, other = answers
    assert main is not None
    assert other is not None
    disagree = (
        "the processes of this training do not agree: torch is 2.0 for process 0 and 2.1 for process 1; give "
        "them all the same"
    )
    shared = {"a": [[0.5, 1.5, 2.5], [3.5, 4.5, 5.5]], "b": 7}
    assert main == [
        (0, 2, True),
        0,
        "of 0",
        [1, 0, 5],
        ("BrokenError", "no room", 7),
        ("SharedError", "process 1: gone", 7),
        ("BrokenError", "gone for 0", 7),
        ("SharedError", disagree, 2),
        None,
        [[1.5, 5.0], 1.5],
        PATIENCE,
        shared,
    ]
    assert other == [
        (1, 2, False),
        1,
        "of 0",
        [1, 0, 5],
        ("SharedError", "no room", 7),
        ("BrokenError", "gone", 7),
        ("SharedError", "gone for 0", 7),
        ("SharedError", disagree, 2),
        None,
        [[1.5, 5.0], 1.5],
        PATIENCE,
        shared,
    ]


def test_alone_there_is_nobody_to_ask() -> None:
    ranks = Ranks()
    assert (ranks.index, ranks.count, ranks.main, ranks.here) == (0, 1, True, 1)
    assert ranks.each(lambda: 5) == ranks.main_finds(lambda: 5) == 5
    assert ranks.most([3, 4]) == [3, 4]
    ranks.agree({"seed": 1})
    with pytest.raises(BrokenError, match="mine"):
        ranks.main_does(lambda: _break("mine"))
    with pytest.raises(SharedError):
        raise SharedError("all")


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed"),
        ("ACCELERATE_USE_FSDP", "FSDP"),
        ("ACCELERATE_USE_MEGATRON_LM", "Megatron-LM"),
    ],
)
def test_other_ways_to_share_a_model_are_refused(
    variable: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, "true")
    with pytest.raises(WrongUseError, match=f"^{variable} asks for {name}: dimtool trains one whole model"):
        launch(tmp_path, compression="none")


def test_the_environment_changes_no_arithmetic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
        "ACCELERATE_MIXED_PRECISION": "fp16",
        "ACCELERATE_DYNAMO_BACKEND": "inductor",
        "ACCELERATE_USE_CPU": "1",
    }.items():
        monkeypatch.setenv(name, value)
    accelerator = launch(tmp_path, compression="none")
    try:
        assert accelerator.gradient_accumulation_steps == 1
        assert accelerator.mixed_precision == "no"
        assert accelerator.init_handler.timeout == PATIENCE
        assert accelerator.state.dynamo_plugin.backend.value == "NO"
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("words", ["Connection closed by peer [127.0.0.1]:1", "Connection reset by peer"])
def test_another_process_that_ends(words: str) -> None:
    with pytest.raises(PeerError, match="another process of this training has ended"), end_of_a_peer_told():
        raise RuntimeError(f"[../gloo/transport/tcp/pair.cc:525] {words}")
    with pytest.raises(RuntimeError, match="ours"), end_of_a_peer_told():
        raise RuntimeError("ours")
