"""Shards proved right, and what is wrong with them repaired."""
