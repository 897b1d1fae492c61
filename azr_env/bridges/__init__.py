"""Environments in other people's libraries (floor 7): one module per library, each behind an extra of its name.

What needs no bridge (Stable-Baselines3, TorchRL, CleanRL) is shown in ``examples/`` and ``docs/bridges.md``.
"""
