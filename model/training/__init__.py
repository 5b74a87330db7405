"""Crops to a trained model."""
