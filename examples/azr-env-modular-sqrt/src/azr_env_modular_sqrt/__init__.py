"""Square roots modulo a prime, as a domain of azr-env: ``gym.make("AZR-Deduction-v0", domain="modular_sqrt")``."""

from azr_env_modular_sqrt.domain import ModularSqrtDomain

__all__ = ["ModularSqrtDomain"]
