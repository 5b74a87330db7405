"""Photographs and trimaps to mattes."""
