"""What a run tells of itself: its values, for trackers, a table and a page, and how long it will take."""
