"""Lists to shards: what is there and right is kept, what is missing is built."""
