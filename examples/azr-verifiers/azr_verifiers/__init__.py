"""The environments of azr-env under a name that ``vf-eval`` finds: ``vf-eval azr-verifiers -n 20``."""

from azr_env.bridges.verifiers import AzrEnv, AzrHarness, AzrTaskset

__all__ = ["AzrEnv", "AzrHarness", "AzrTaskset"]
