"""Plug-ins by name: errors that list what exists, and duplicates, with real distributions on `sys.path`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from azr_env import registry
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.python import PythonDomain
from azr_env.errors import DuplicateNameError, SettingError, UnknownNameError, UnknownOptionError
from azr_env.protocols import Domain, Executor, TaskSource, Verifier
from azr_env.sources.builtin import BuiltinSource

Install = Callable[[str, str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a distribution with these entry points and this module, for one test."""

    def make(name: str, points: str, code: str = "") -> None:
        folder = tmp_path / name
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
        (folder / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(str(folder))

    return make


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("domain", {"python", "prime_inversion"}),
        ("verifier", {"relation"}),
        ("executor", {"zygote", "zygote-chunk", "subprocess", "monty", "ray"}),
        ("source", {"builtin", "buffer", "jsonl", "cruxeval"}),
    ],
)
def test_built_ins_enter_by_the_door_of_strangers(kind: registry.Kind, expected: set[str]) -> None:
    assert expected <= set(registry.names(kind))
    assert registry.names(kind) == sorted(registry.names(kind))


@pytest.mark.parametrize(
    ("kind", "typo", "meant"),
    [
        ("domain", "pyton", "python"),
        ("verifier", "relations", "relation"),
        ("executor", "zygot", "zygote"),
        ("source", "built-in", "builtin"),
    ],
)
def test_an_unknown_name_lists_what_exists_and_the_nearest(kind: registry.Kind, typo: str, meant: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        registry.factory(kind, typo)
    message = str(caught.value)
    assert f"Did you mean '{meant}'?" in message
    assert repr(typo) in message
    assert registry.GROUPS[kind] in message
    for name in registry.names(kind):
        assert name in message


def test_a_name_far_from_all_gets_no_hint() -> None:
    with pytest.raises(UnknownNameError) as caught:
        registry.factory("domain", "qqqq")
    assert "Did you mean" not in str(caught.value)


def test_an_unknown_kind_lists_the_kinds() -> None:
    with pytest.raises(UnknownNameError, match="domain, verifier, executor, source, policy"):
        registry.names("prize")  # type: ignore[arg-type]


def test_an_outside_plug_in_is_found_and_not_imported_before_it_is_asked_for(install: Install) -> None:
    code = (
        "class Even:\n    name = 'even'\n"
        "    def __init__(self, executor, parity=0):\n        self.executor, self.parity = executor, parity\n"
    )
    install("azr_even", "[azr_env.domains]\neven = azr_even:Even\n", code)
    assert "even" in registry.names("domain")
    assert "azr_even" not in sys.modules
    made = registry.domain("even", "zygote", parity=1)
    assert (made.name, made.parity, made.executor) == ("even", 1, "zygote")  # type: ignore[attr-defined]
    sys.modules.pop("azr_even")


def test_a_duplicate_name_raises_and_names_both(install: Install) -> None:
    install("azr_rival", "[azr_env.domains]\npython = azr_rival:Python\n", "Python = object")
    with pytest.raises(DuplicateNameError) as caught:
        registry.domain("prime_inversion")
    assert "azr_rival:Python" in str(caught.value)
    assert "azr_env.domains.python:PythonDomain" in str(caught.value)


def test_two_outside_plug_ins_of_one_name_raise(install: Install) -> None:
    for name in ("azr_one", "azr_two"):
        install(name, f"[azr_env.verifiers]\nstrict = {name}:V\n", "V = object")
    with pytest.raises(DuplicateNameError, match="'strict'"):
        registry.names("verifier")


def test_the_same_distribution_seen_twice_is_no_duplicate(install: Install) -> None:
    install("azr_again", "[azr_env.verifiers]\nrelation = azr_env.verifiers.relation:RelationVerifier\n", "")
    assert registry.names("verifier").count("relation") == 1


def test_objects_pass_through(prime_domain: PrimeInversionDomain, executor: Executor) -> None:
    assert registry.domain(prime_domain) is prime_domain
    assert registry.executor(executor) is executor
    verifier = registry.verifier("relation", prime_domain)
    assert registry.verifier(verifier, prime_domain) is verifier
    source = registry.source("builtin", prime_domain)
    assert registry.source(source, prime_domain) is source


def test_one_executor_a_name() -> None:
    assert registry.executor("zygote") is registry.executor("zygote")


def test_options_reach_the_domain() -> None:
    made = registry.domain("prime_inversion", max_prime=13)
    assert isinstance(made, PrimeInversionDomain)
    assert made.max_prime == 13


@pytest.mark.parametrize("name", ["python", "prime_inversion"])
def test_a_wrong_option_is_named(name: str) -> None:
    with pytest.raises(UnknownOptionError, match="max_primes"):
        registry.domain(name, max_primes=13)


def test_options_beside_an_object_raise(prime_domain: PrimeInversionDomain) -> None:
    with pytest.raises(UnknownOptionError, match="max_prime"):
        registry.domain(prime_domain, max_prime=13)


@pytest.mark.parametrize(
    "options",
    [
        {"max_prime": 2},
        {"max_prime": 1_000_004},
        {"max_prime": "31"},
        {"max_prime": 31.0},
        {"max_prime": True},
        {"max_prime": None},
    ],
)
def test_impossible_prime_settings(options: dict[str, object]) -> None:
    with pytest.raises(SettingError, match="from 3 to 1000003"):
        registry.domain("prime_inversion", **options)


@pytest.mark.parametrize(
    "options", [{"induction_inputs": 1}, {"induction_inputs": 65}, {"induction_inputs": "4"}, {"equality": "loose"}]
)
def test_impossible_python_settings(options: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        registry.domain("python", **options)


def test_the_argument_of_a_source_stands_behind_the_first_colon(
    tmp_path: Path, prime_domain: PrimeInversionDomain
) -> None:
    path = tmp_path / "a:b.jsonl"
    path.write_text('{"mode": "deduction", "program": "7", "examples": [["3", "5"]]}\n')
    assert registry.source(f"jsonl:{path}", prime_domain).get("deduction-line-1").program == "7"


def test_the_plug_ins_have_the_members_of_their_protocols(
    python_domain: PythonDomain, prime_domain: PrimeInversionDomain
) -> None:
    for made in (python_domain, prime_domain):
        assert isinstance(made, Domain)
        assert isinstance(registry.verifier("relation", made), Verifier)
        assert isinstance(BuiltinSource("", made), TaskSource)
    assert isinstance(python_domain.executor, Executor)
