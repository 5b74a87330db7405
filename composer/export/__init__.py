"""Shards as the folders of PNG that other trainers read."""
