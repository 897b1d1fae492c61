"""The engine of ``azr check``: the conformance kit on an installed plug-in, from the shell (floor 7)."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

import gymnasium as gym

from azr_env import registry, values
from azr_env.envs.game import whole
from azr_env.errors import AzrError, SettingError, UnknownNameError, ValueFormatError
from azr_env.protocols import Verifier

if TYPE_CHECKING:
    from azr_env.testing.reporting import Check

SETTINGS: Final = "AZR_CHECK"
"""Environment variable that tells :mod:`azr_env.testing.named`, here and in fresh processes, what to check."""
_CLASSES: Final = {"verifier": "TestVerifier", "domain": "TestDomain", "executor": "TestExecutor", "env": "TestEnv"}
_DRAWN: Final = 100
_MOST_SHOWN: Final = 5
_LESS: Final = 300


def run(args: Sequence[str], out: TextIO | None = None) -> int:
    """Checks one plug-in and prints a line per check.

    Args:
        args: what follows ``azr check``.
        out: where to; ``None`` means standard output.

    Returns:
        0 if every check passed or was skipped, 1 if one failed, 2 for a mistake in the arguments or a missing extra.

    Raises:
        UnknownNameError: no plug-in or environment of that name; the message has the nearest.
        SettingError: the plug-in cannot be made, with these settings or at all.
        ExecutorUnavailableError: an executor that cannot start here.
        KeyboardInterrupt: the run was stopped.
    """
    out = out or sys.stdout
    try:
        asked = _parser().parse_args(args)
    except SystemExit as stop:  # argparse has said why
        return int(stop.code or 0)
    lacking = [name for name in ("pytest", "hypothesis") if not _there(name)]
    if lacking:
        sys.stderr.write(
            f"azr: checking needs {' and '.join(lacking)}, the extra `test` of azr-env: python -m pip install -c "
            "constraints.txt -e '.[test]', or python -m pip install pytest hypothesis\n"
        )
        return 2
    settings, layers = _settled(asked)
    if not asked.json:
        _say_layers(out, settings, layers)
    return _run(settings, layers, out, asked.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="azr check",
        description="Runs the conformance kit on an installed plug-in and says in words what is wrong with it.",
        epilog="Exit code: 0 nothing failed, 1 a check failed, 2 no such plug-in, wrong settings, or no pytest.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="verifier|domain|executor|env")
    each = argparse.ArgumentParser(add_help=False)
    each.add_argument("--json", action="store_true", help="print one JSON object in place of the report")
    drawing = argparse.ArgumentParser(add_help=False)
    drawing.add_argument(
        "--examples",
        type=int,
        default=_DRAWN,
        metavar="N",
        help=f"texts that a check draws, the same on each run (default: {_DRAWN}); more take longer and find more",
    )
    verifier = kinds.add_parser("verifier", parents=[each, drawing], help="a verifier by its entry point's name")
    verifier.add_argument("name", metavar="NAME", help="as in azr list")
    verifier.add_argument("--domain", default="python", help="domain whose tasks it is asked (default: python)")
    verifier.add_argument(
        "--stricter",
        action="store_true",
        help="it refuses, on purpose, some answers of which the relation holds: check only that it pays for no others",
    )
    domain = kinds.add_parser("domain", parents=[each, drawing], help="a domain by its entry point's name")
    domain.add_argument("name", metavar="NAME", help="as in azr list")
    executor = kinds.add_parser("executor", parents=[each], help="an executor by its entry point's name")
    executor.add_argument("name", metavar="NAME", nargs="?", default="zygote", help="as in azr list (default: zygote)")
    executor.add_argument(
        "--uncontained", metavar="REASON", default="", help="it is not meant to contain attacks: skip them, saying why"
    )
    env = kinds.add_parser("env", parents=[each], help="a Gymnasium environment with text actions by its id")
    env.add_argument("name", metavar="ID", help="ID or module:ID")
    env.add_argument("--kwarg", action="append", default=[], metavar="K=V", help="a setting; may be given again")
    return parser


def _there(module: str) -> bool:
    try:
        import_module(module)
    except ModuleNotFoundError:
        return False
    return True


def _settled(asked: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """What to check, as data that names exist for, and an executor's isolation layers."""
    settings: dict[str, Any] = {"kind": asked.kind, "name": asked.name}
    layers: dict[str, str] = {}
    if asked.kind in ("verifier", "domain") and asked.examples != _DRAWN:
        settings["examples"] = whole(asked.examples, "--examples", 10, 1_000_000)
    if asked.kind == "env":
        settings["kwargs"] = _kwargs(asked.kwarg)
        _make_once(asked.name, settings["kwargs"])
    else:
        with _loading(f"the {asked.kind} {asked.name!r}"):
            make = registry.factory(asked.kind, asked.name)
        if asked.kind == "verifier":
            settings |= {"domain": asked.domain, "stricter": asked.stricter}
            _make_verifier(asked.name, asked.domain)
        elif asked.kind == "domain":
            with _loading(f"the domain {asked.name!r}"):
                registry.domain(asked.name)
        elif asked.kind == "executor":
            settings["uncontained"] = asked.uncontained
            with _loading(f"the executor {asked.name!r}"):
                executor = make()
                layers = getattr(executor, "layers", dict)()
                executor.close()
    return settings, layers


@contextmanager
def _loading(what: str) -> Iterator[None]:
    """Turns whatever a plug-in raises on the way into a sentence."""
    try:
        yield
    except AzrError:
        raise
    except Exception as exc:
        raise SettingError(f"{what} cannot be made: {type(exc).__name__}: {' '.join(str(exc).split())}") from exc


def _make_verifier(name: str, domain: str) -> None:
    """Makes the verifier once, so that one that cannot be made is one mistake and not one in every check."""
    with _loading(f"the domain {domain!r}"):
        on = registry.domain(domain)
    try:
        made = registry.verifier(name, on)
        if isinstance(made, type) or not isinstance(made, Verifier):
            raise SettingError(f"its factory gives {made!r:.80}, which is no object with a method verify(answers)")
    except Exception as exc:
        why = " ".join(str(exc).split())
        kind = "" if isinstance(exc, AzrError) else f"{type(exc).__name__}: "
        raise SettingError(f"the verifier {name!r} cannot be made for the domain {domain!r}: {kind}{why}") from exc


def _kwargs(texts: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise SettingError(f"--kwarg {text!r} is not of the form NAME=VALUE, as in --kwarg max_prime=31")
        try:
            found[name] = values.parse(value)
            json.dumps(found[name])
        except (ValueFormatError, TypeError, ValueError):  # not a literal, or one without JSON: the text itself
            found[name] = value
    return found


def _make_once(env_id: str, kwargs: Mapping[str, Any]) -> None:
    module, colon, name = env_id.rpartition(":")
    if colon:
        with _loading(f"the module {module!r}"):
            import_module(module)
    if name not in gym.registry:
        near = difflib.get_close_matches(name, gym.registry, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownNameError(
            f"no environment is registered as {name!r}.{hint} Give module:ID to import the module that registers it."
        )
    with _loading(f"the environment {env_id!r} with {dict(kwargs) or 'no settings'}"):
        gym.make(env_id, **kwargs).close()


@contextmanager
def _surroundings(settings: Mapping[str, Any]) -> Iterator[None]:
    """Environment variables for the run, as they were after it: no options and no files of the user's own tests."""
    with tempfile.TemporaryDirectory() as folder:
        ours = {SETTINGS: json.dumps(settings), "HYPOTHESIS_STORAGE_DIRECTORY": folder}
        before = {name: os.environ.pop(name, None) for name in (*ours, "PYTEST_ADDOPTS")}
        os.environ.update(ours)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def _run(settings: Mapping[str, Any], layers: Mapping[str, str], out: TextIO, as_json: bool) -> int:
    import pytest

    from azr_env.testing.reporting import Reporter

    reporter = Reporter((lambda check: None) if as_json else (lambda check: _say(out, check)))
    file = Path(__file__).with_name("named.py")
    options = [f"--rootdir={file.parent}", f"--config-file={os.devnull}", "--noconftest", "--capture=sys"]
    options += ["-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:randomly", "-W", "default"]
    with _surroundings(settings):
        code = pytest.main([*options, f"{file}::{_CLASSES[settings['kind']]}"], plugins=[reporter])
    if code is pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    checks = reporter.finished()
    if not checks or code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        sys.stderr.write(f"azr: pytest could not run the checks ({reporter.trouble or f'exit code {int(code)}'})\n")
        return 2
    counts = {status: sum(check.status == status for check in checks) for status in ("ok", "failed", "skipped")}
    if as_json:
        report = {**settings, "layers": dict(layers), **counts, "checks": [check.as_data() for check in checks]}
        out.write(json.dumps(report, indent=2) + "\n")
    else:
        cases = sum(check.cases for check in checks)
        out.write(f"\n{len(checks)} checks, {cases} cases: " + ", ".join(f"{n} {s}" for s, n in counts.items()) + "\n")
    out.flush()
    return 1 if counts["failed"] else 0


def _say_layers(out: TextIO, settings: Mapping[str, Any], layers: Mapping[str, str]) -> None:
    rest = {name: value for name, value in settings.items() if name not in ("kind", "name") and value}
    told = ", ".join(
        f"{name}={value!r}" for name, value in (cast(dict[str, Any], rest.pop("kwargs", {})) | rest).items()
    )
    out.write(f"{settings['kind']} {settings['name']}{f' ({told})' if told else ''}\n")
    if layers:
        width = max(map(len, layers))
        out.write("isolation layers in force:\n")
        out.writelines(f"  {name:<{width}}  {how}\n" for name, how in layers.items())
    out.flush()


def _say(out: TextIO, check: Check) -> None:
    """One line for a check, and one more for each case that failed where it has several."""
    word = {"ok": "ok     ", "failed": "FAILED ", "skipped": "skipped"}[check.status]
    many = f" ({check.cases} cases)" if check.cases > 1 else ""
    line = f"{word} {check.words}{many}"
    if check.status == "skipped":
        line += f": {check.skips[0]}"
    elif check.status == "failed" and check.cases == 1:
        line += f": {check.failures[0][1]}"
    elif check.skips:
        line += f", of which {len(check.skips)} skipped: {check.skips[0]}"
    out.write(line + "\n")
    if check.cases > 1:
        out.writelines(f"        {case}: {_short(reason)}\n" for case, reason in check.failures[:_MOST_SHOWN])
        more = len(check.failures) - _MOST_SHOWN
        if more > 0:
            out.write(f"        and {more} more\n")
    out.flush()


def _short(text: str) -> str:
    return text if len(text) <= _LESS else f"{text[:_LESS]} ..."
