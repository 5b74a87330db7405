"""What ends a training of several processes in all of them, and which of them tells it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import DimtoolError

_PEER_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")


class SharedError(DimtoolError):
    """What all processes of a training meet together: the main one tells it, the others end with its code.

    told_elsewhere: whether another process tells it. alone: whether this process met it alone, after all.
    """

    told_elsewhere = False
    alone = False

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class PeerError(SharedError):
    """Another process of the training ended."""

    def __init__(self, message: str = "another process of this training has ended") -> None:
        super().__init__(f"{message}: the same command goes on from the last checkpoint")


@contextmanager
def end_of_a_peer_told() -> Iterator[None]:
    """PyTorch raises a RuntimeError in the midst of whatever the processes did together."""
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in _PEER_GONE):
            raise
        raise PeerError from error
