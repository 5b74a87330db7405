"""A page on this machine to try a model: a photograph, a trimap painted over it, and what comes of them."""
