"""A training run as it lies on the disk: what was asked for, what came of it, where it stands."""
