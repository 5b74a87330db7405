"""Pages to look at: templates, the pictures that they show, and the style that all of them share."""
