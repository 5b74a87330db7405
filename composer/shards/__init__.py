"""The shard format: tiles, files, the index, a folder of shards as one sequence."""
