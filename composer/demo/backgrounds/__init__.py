"""The drawn scenes: each function gives an opaque picture (h, w, 3) in 0 to 1."""
