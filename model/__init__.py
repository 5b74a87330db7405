"""Shards to the Deep Image Matting model: network, training, evaluation."""
