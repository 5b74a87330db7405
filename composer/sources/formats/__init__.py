"""What single formats need beside Pillow: damage that it does not tell, names for what it does not read."""
