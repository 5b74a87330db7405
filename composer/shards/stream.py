"""What HDF5 writes a shard into: a file that, as far as HDF5 can tell, never fails."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

Item = TypeVar("Item")


class Stream:
    """A new file for `h5py.File(stream, "w")`, in a `with` block: what goes wrong waits until HDF5 is out.

    HDF5 does not survive a write that fails: where the disk is full, it ends in a segmentation fault when
    the file is closed. So such a write is taken for done, nothing more is written, and the OSError is raised
    by `check`, at the latest when the block ends. Ctrl-C waits in the same way: an exception in the midst of
    these methods is a write that fails. Raises FileExistsError rather than destroy a file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = self._end = 0
        self._error: OSError | None = None
        self._handler: Callable[[int, FrameType | None], Any] | None = None
        self._interrupted = False

    def __enter__(self) -> Self:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler) and threading.current_thread() is threading.main_thread():
            self._handler = handler
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
        self.check()

    def check(self) -> None:
        """Raise what waits: Ctrl-C, or the OSError of the first write that failed."""
        if self._interrupted and self._handler is not None:
            self._interrupted = False
            self._handler(signal.SIGINT, None)
        if self._error is not None:
            raise self._error

    def checked(self, items: Iterable[Item]) -> Iterator[Item]:
        """`items`, with a check whenever one of them has been dealt with."""
        for item in items:
            yield item
            self.check()

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupted = True

    # From here on: what h5py asks of a file.

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        data = os.pread(self._descriptor, size, self._position)
        self._position += len(data)
        return data

    def write(self, data: bytes | bytearray | memoryview) -> int:
        left = memoryview(data).cast("B")
        start, self._position = self._position, self._position + len(left)
        self._end = max(self._end, self._position)
        try:
            while len(left) and self._error is None:
                written = os.pwrite(self._descriptor, left, start)
                left, start = left[written:], start + written
        except OSError as error:
            self._fail(error)
        return len(data)

    def truncate(self, size: int) -> int:
        self._end = size
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            self._fail(error)
        return size

    def flush(self) -> None:
        """Nothing is buffered here."""

    def _fail(self, error: OSError) -> None:
        error.filename = str(self._path)
        self._error = self._error or error
