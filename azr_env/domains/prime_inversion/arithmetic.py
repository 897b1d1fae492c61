"""Primes, inverses and the reading of a natural number."""

from __future__ import annotations

from functools import cache

MAX_DIGITS = 9
"""A number of more digits is refused unread."""


@cache
def primes(most: int) -> tuple[int, ...]:
    """All primes from 2 to ``most``, ascending (sieve of Eratosthenes)."""
    composite = bytearray(most + 1)
    found = []
    for n in range(2, most + 1):
        if not composite[n]:
            found.append(n)
            composite[n * n :: n] = b"\1" * len(composite[n * n :: n])
    return tuple(found)


@cache
def prime_set(most: int) -> frozenset[int]:
    """The same primes as a set."""
    return frozenset(primes(most))


def natural(text: str) -> int | None:
    """The number that ``text`` writes in ASCII digits, without sign or leading zero; else ``None``."""
    text = text.strip()
    if not text.isascii() or not text.isdigit() or len(text) > MAX_DIGITS or (text[0] == "0" and len(text) > 1):
        return None
    return int(text)


def holds(p: int, x: int, y: int, max_prime: int) -> bool:
    """R(p, x, y): p is prime, p <= ``max_prime``, x and y are in 1..p-1, and x*y = 1 (mod p)."""
    return p in prime_set(max_prime) and 1 <= x < p and 1 <= y < p and x * y % p == 1


def moduli(x: int, y: int, max_prime: int) -> tuple[int, ...]:
    """Every prime p for which R(p, x, y) holds."""
    return tuple(p for p in primes(max_prime) if holds(p, x, y, max_prime))
