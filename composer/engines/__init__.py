"""Where the work runs; no engine knows what an image is."""
