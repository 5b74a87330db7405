"""The processes of a training: those that read crops, those that share a batch, and how they are stopped."""
