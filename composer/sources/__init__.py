"""Where a data set comes from: image files, folders, lists."""
