"""Modular inverses: R(p, x, y) holds when p is a prime up to ``max_prime`` and x*y = 1 (mod p)."""

from azr_env.domains.prime_inversion.domain import PrimeInversionDomain

__all__ = ["PrimeInversionDomain"]
