"""A verification as a page to look at."""
