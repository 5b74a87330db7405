"""Folders in object stores: read through a cache on this machine's disk, written whole or not at all."""
