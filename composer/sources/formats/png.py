"""PNG files whose texts or profiles are longer than Pillow reads."""

from __future__ import annotations

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt", b"iCCP"))


def without_texts(data: bytes) -> bytes:
    """A PNG file without its texts and its profile, which no pixel depends on; anything else as it is.

    Pillow refuses the whole file for a text or a profile of over 1 MB, as image generators write them.
    """
    if not data.startswith(_SIGNATURE):
        return data
    kept, here = [_SIGNATURE], len(_SIGNATURE)
    while here < len(data):
        end = here + 12 + int.from_bytes(data[here : here + 4], "big")
        if data[here + 4 : here + 8] not in _TEXTS:
            kept.append(data[here:end])
        here = end
    return b"".join(kept)
