"""Python functions, the domain of the paper: R(program, input, output) holds when ``f(*input) == output``."""

from azr_env.domains.python.domain import PythonDomain

__all__ = ["PythonDomain"]
