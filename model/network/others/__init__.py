"""Files of other projects: what they are, and their weights in this network."""
