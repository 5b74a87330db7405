"""The whole way in a few minutes: from drawn pictures to a trained model's scores, on one page."""
