"""Looking at shards: tables and pictures."""
