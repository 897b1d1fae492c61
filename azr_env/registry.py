"""Plug-ins by kind and name (floor 2).

A plug-in is an entry point of a group below; ours are declared in this project's ``pyproject.toml`` like
a stranger's. Nothing is imported before it is asked for by name.
"""

from __future__ import annotations

import atexit
import difflib
import sys
from importlib.metadata import EntryPoint, entry_points
from threading import Lock
from typing import Any, Literal, cast

from azr_env.errors import DuplicateNameError, SettingError, UnknownNameError, UnknownOptionError
from azr_env.protocols import Domain, Executor, Policy, TaskSource, Verifier

Kind = Literal["domain", "verifier", "executor", "source", "policy"]

GROUPS: dict[str, str] = {
    "domain": "azr_env.domains",
    "verifier": "azr_env.verifiers",
    "executor": "azr_env.executors",
    "source": "azr_env.tasks",
    "policy": "azr_env.policies",
}
"""Entry-point group of each kind. What an entry point names is called as

* domain: ``factory(executor=..., **options) -> Domain``
* verifier: ``factory(domain) -> Verifier``
* executor: ``factory(**options) -> Executor``
* source: ``factory(argument, domain) -> TaskSource``, ``argument`` being the text behind the colon
* policy: ``factory(argument) -> Policy``, likewise
"""

_shared: dict[str, Executor] = {}
_lock = Lock()


def names(kind: Kind) -> list[str]:
    """Names of the installed plug-ins of a kind, sorted."""
    return sorted(_points(kind))


def factory(kind: Kind, name: str) -> Any:
    """What the entry point ``name`` of that kind refers to.

    Raises:
        UnknownNameError: no such name; the message lists what exists and the nearest.
        DuplicateNameError: two distributions claim a name of this kind.
    """
    points = _points(kind)
    if name not in points:
        near = difflib.get_close_matches(name, points, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        exist = ", ".join(points) or "none: is azr-env installed (python -m pip install -e .)?"
        raise UnknownNameError(
            f"no {kind} is named {name!r}. Installed: {exist}.{hint} "
            f"A plug-in adds one by an entry point in the group {GROUPS[kind]!r}."
        )
    point = points[name]
    try:
        return point.load()
    except AttributeError as exc:
        if exc.obj is not sys.modules.get(point.module):
            raise  # the module's own mistake
        raise UnknownNameError(f"the {kind} {name!r} is named {point.value!r}, but {exc}") from None


def domain(spec: str | Domain, executor: str | Executor = "zygote", **options: Any) -> Domain:
    """The domain itself, or the one of that name made with ``options``.

    Raises:
        UnknownNameError: no domain or executor of that name.
        UnknownOptionError: options that the domain does not take, or options beside a finished object.
    """
    if not isinstance(spec, str):
        _made("domain", spec)
        if options:
            raise UnknownOptionError(
                f"unexpected keyword argument {min(options)!r}: a domain's options go with its name, not with an object"
            )
        return spec
    make = factory("domain", spec)
    try:
        return cast(Domain, make(executor=executor, **options))
    except TypeError as exc:
        if "argument" not in str(exc):
            raise
        raise UnknownOptionError(f"domain {spec!r} does not take all of these options: {exc}") from None


def verifier(spec: str | Verifier, domain: Domain) -> Verifier:
    """The verifier itself, or the one of that name for ``domain``."""
    if not isinstance(spec, str):
        return cast(Verifier, _made("verifier", spec))
    return cast(Verifier, factory("verifier", spec)(domain))


def source(spec: str | TaskSource, domain: Domain) -> TaskSource:
    """The task source itself, or the one that ``NAME`` or ``NAME:ARGUMENT`` gives."""
    if not isinstance(spec, str):
        return cast(TaskSource, _made("source", spec))
    name, _, argument = spec.partition(":")
    return cast(TaskSource, factory("source", name)(argument, domain))


def policy(spec: str | Policy) -> Policy:
    """The policy itself, or the one that ``NAME`` or ``NAME:ARGUMENT`` gives."""
    if not isinstance(spec, str):
        return cast(Policy, _made("policy", spec))
    name, _, argument = spec.partition(":")
    return cast(Policy, factory("policy", name)(argument))


def executor(spec: str | Executor) -> Executor:
    """The executor itself, or this process's shared one of that name.

    One executor a name serves the whole process and is closed at its end: it starts servers, and a hundred
    environments must not start a hundred of them.
    """
    if not isinstance(spec, str):
        return cast(Executor, _made("executor", spec))
    make = factory("executor", spec)
    with _lock:
        if spec not in _shared:
            _shared[spec] = cast(Executor, make())
            atexit.register(_shared[spec].close)
        return _shared[spec]


_PROTOCOLS = {"domain": Domain, "verifier": Verifier, "executor": Executor, "source": TaskSource, "policy": Policy}


def _made(kind: str, spec: object) -> object:
    """The object, if it looks like a plug-in of the kind; a class is the usual slip."""
    if isinstance(spec, type) or not isinstance(spec, _PROTOCOLS[kind]):
        slip = f"the class {spec.__name__}" if isinstance(spec, type) else f"{spec!r:.80}"
        raise SettingError(f"a {kind} is given as a name, or as an object with its members; this is {slip}")
    return spec


def _points(kind: Kind) -> dict[str, EntryPoint]:
    if kind not in GROUPS:
        raise UnknownNameError(f"no plug-in kind {kind!r}; kinds are {', '.join(GROUPS)}")
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUPS[kind]), key=lambda p: p.name):
        other = found.get(point.name)
        if other is not None and other.value != point.value:
            raise DuplicateNameError(
                f"two plug-ins claim the {kind} name {point.name!r}: {other.value} and {point.value}; "
                "uninstall one of their distributions"
            )
        found[point.name] = point
    return found
