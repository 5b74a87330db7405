"""Models and predictions to scores."""
