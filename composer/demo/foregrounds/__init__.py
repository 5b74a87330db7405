"""The drawn things: each function gives a premultiplied canvas (h, w, 4)."""
