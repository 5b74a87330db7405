"""Lists to shards: the composited data set, without torch."""
