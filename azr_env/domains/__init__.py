"""The built-in domains (floor 4)."""
