"""The pixel rules, pure functions: composites and trimaps."""
