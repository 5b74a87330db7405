"""The network of Deep Image Matting, and its weights in files."""
