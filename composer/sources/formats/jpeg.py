"""JPEG files read so that damage shows which libjpeg decodes without a word.

libjpeg fills what is missing with grey and passes over what is too much; of both it only warns, and Pillow
does not pass its warnings on. Where the picture is one run of codes, as nearly always, how much the decoder
asks for tells it at no cost. Of progressive files and of those with restarts, a strict decoder does.
"""

from __future__ import annotations

import io
import re

import imagecodecs

SIGNATURE = b"\xff\xd8\xff"

# What ends a run of codes: any marker; of a stuffed zero or a fill byte it is none.
_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_EOI, _SOS = 0xD9, 0xDA
_RESTARTS = range(0xD0, 0xD8)
# Start of frame; only 0xC0 to 0xC2 have Huffman codes and a picture that Pillow decodes.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_HUFFMAN = frozenset((0xC0, 0xC1, 0xC2))

# Decoders look 8 bytes ahead of the last code; all ones are no code.
_AHEAD = b"\xff\x00" * 8
# So many bytes too much are damage; some encoders write a few, or fill up with zeros.
_SLACK = 24
_LONGEST_FILLING = 4096
# Headers are read in smaller pieces, codes in larger ones.
_BLOCK = 8192


class JpegStream(io.BytesIO):
    """A JPEG file that notices, while Pillow reads it, whether its codes are those of one whole picture."""

    def __init__(self, data: bytes) -> None:
        self._data, (self._runs, self._usual) = data, _code_runs(data)
        self._stops: tuple[int, ...] = ()
        if len(self._runs) == 1:
            # The decoder gets nothing behind the codes: if it asks for more, some are missing.
            start, end = self._runs[0]
            last = data[max(start, end - _LONGEST_FILLING) : end]
            filling = len(last) - len(last.rstrip(b"\0\xff"))
            self._stops = (max(start, end - filling - _SLACK), end)
            data = data[:end] + _AHEAD
        super().__init__(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """As any stream, but what reads in blocks, as decoders do, gets never past a place that matters."""
        if size is None or size < _BLOCK:
            return super().read(size)
        here = self.tell()
        stop = next((each for each in self._stops if each > here), here + size)
        return super().read(min(size, stop - here))

    def damage(self) -> str:
        """What is wrong with the codes, once they are decoded; empty where nothing is.

        Missing ones of a single run Pillow tells itself: the stream ends behind them.
        """
        if self._stops and self.tell() <= self._stops[0]:
            return "its picture ends before its data do"
        if len(self._runs) > 1 and self._usual and not _transcodes(self._data):
            return "its data are not those of one whole picture"
        return ""


def _transcodes(data: bytes) -> bool:
    """Whether JPEG XL's strict reader takes the file, which keeps every bit of it."""
    try:
        imagecodecs.jpegxl_encode_jpeg(data, numthreads=1)
    except imagecodecs.JpegxlError:
        return False
    return True


def _code_runs(data: bytes) -> tuple[tuple[tuple[int, int], ...], bool]:
    """Where the codes of the first picture lie, each data[start:end], and whether JPEG XL knows them.

    None where they are no Huffman codes, or have no end.
    """
    usual = True
    runs: list[tuple[int, int]] = []
    here = 2
    while len(data) >= here + 4 and data[here] == 0xFF:
        marker, length = data[here + 1], int.from_bytes(data[here + 2 : here + 4], "big")
        if marker == 0xFF:  # a fill byte
            here += 1
            continue
        if marker == _EOI:
            break
        if marker in _FRAMES:
            if marker not in _HUFFMAN:
                return (), False
            usual = _usual(data[here + 4 : here + 2 + length])
        here += 2 + length
        if marker == _SOS:
            here = _append_runs(data, here, runs)
    return (tuple(runs) if data[here : here + 2] == bytes((0xFF, _EOI)) else ()), usual


def _usual(frame: bytes) -> bool:
    """Whether a frame's header is of 8 bits, one or three components, sampled by 1 or 2."""
    sampling = frame[7::3]
    return (
        frame[:1] == b"\x08"
        and frame[5:6] in (b"\x01", b"\x03")
        and all(each >> 4 in (1, 2) and each & 15 in (1, 2) for each in sampling)
    )


def _append_runs(data: bytes, start: int, runs: list[tuple[int, int]]) -> int:
    """Add the runs of a scan, which restarts divide; where the marker behind it is."""
    for found in _MARKER.finditer(data, start):
        runs.append((start, found.start()))
        if data[found.start() + 1] not in _RESTARTS:
            return found.start()
        start = found.end()
    return len(data)
