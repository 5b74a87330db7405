"""List files and presets that ship with the package."""
