"""Gymnasium environments (floor 6)."""
