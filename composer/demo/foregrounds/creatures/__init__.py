"""What has hair, fur or feathers."""
