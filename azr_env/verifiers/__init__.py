"""Verifiers: they decide whether an answer is right (floor 3)."""
