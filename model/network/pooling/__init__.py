"""Pooling that keeps where each maximum was, and its unpooling."""
