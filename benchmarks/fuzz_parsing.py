"""Does any text make parsing, values or framing raise, hang, or come back as another value?

    python benchmarks/fuzz_parsing.py --seconds 60 --check

With atheris (``pip install azr-env[fuzz]``) inputs are found by coverage, else Hypothesis makes them. Each target runs
in a process of its own. A finding is an exception that the function does not document, a wrong round trip, or an input
that takes longer than ``HANG_S``; its last lines are printed, and so is the input by atheris.
"""

from __future__ import annotations

import argparse
import ast
import faulthandler
import importlib.util
import inspect
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from _harness import Bar, Report, main

from azr_env import prompts, values
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.errors import ValueFormatError
from azr_env.executors.zygote import frames, reports
from azr_env.executors.zygote.load import Load
from azr_env.parsing import Malformed, Style, parse_answer, parse_proposal
from azr_env.types import Draft, Job, Limits, Mode, Outcome, Slot

HANG_S = 5
LONGEST = 40_000
"""Most bytes of one input: more than the longest text that is read as a value."""
QUICK_S = 2
FENCES: Mapping[Slot, str] = {Slot.PROGRAM: "python", Slot.INPUT: "input", Slot.OUTPUT: "output"}
PRIMES = PrimeInversionDomain(31)
LOADS = [Load((Job("", ("()",) * calls, Limits(output_kib=1)),)) for calls in (1, 3)]
LOADS.append(Load((Job("", ("()",)), Job("", ("()", "()")))))


class Finding(Exception):
    """An input that comes out wrong."""


def require(holds: bool, what: str) -> None:
    """Raises a finding."""
    if not holds:
        raise Finding(what)


def text_of(data: bytes) -> str:
    """Any bytes as text: lone surrogates where they are no UTF-8."""
    return data.decode("utf-8", "surrogateescape")


def answer(data: bytes) -> None:
    """``parse_answer``, and the way back from a completion that holds the text."""
    text = text_of(data)
    for style in Style:
        for mode in Mode:
            require(isinstance(parse_answer(text, style, mode, FENCES), str | Malformed), "another type")
            plain = text.strip("\n") if style is Style.PAPER else text.strip()
            if plain.strip():
                completion = prompts.completion_of(PRIMES, mode, plain, style)
                back = parse_answer(completion, style, mode, PRIMES.fences)
                require(back == plain, f"{style} {mode}: {plain!r} came back as {back!r}")


def proposal(data: bytes) -> None:
    """``parse_proposal``, with and without a given program."""
    text = text_of(data)
    for style in Style:
        for mode in Mode:
            for program in (None, "def f(x): return x"):
                found = parse_proposal(text, style, mode, FENCES, program)
                require(isinstance(found, Draft | Malformed), "another type")
                if isinstance(found, Draft):
                    require(program is None or found.program == program, "another program")
                    require(mode is Mode.INDUCTION or len(found.inputs) == 1, "another number of inputs")


def literal(data: bytes) -> None:
    """``parse`` and back by ``render`` and by ``encode``; ``ast.literal_eval`` must read the same value."""
    text = text_of(data)
    try:
        value = values.parse(text)
    except ValueFormatError:
        return
    there_and_back(value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            other = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return
    require(values.equal(value, other), f"literal_eval reads {other!r}")


def there_and_back(value: object) -> None:
    """A plain value survives both of its texts."""
    for ordered in (False, True):
        canonical = values.encode(value, ordered)
        require(values.encode(values.decode(canonical), ordered) == canonical, "encode and decode")
    require(values.equal(value, value), "not equal to itself")
    try:
        rendered = values.render(value)
    except ValueFormatError as exc:
        require("complex" in str(exc), f"parsed and not rendered: {exc}")
        return
    require("\n" not in rendered, "render gave several lines")
    if len(rendered) <= values.MAX_TEXT:
        again = values.parse(rendered)
        require(values.equal(again, value), f"{rendered!r} is another value")
        require(values.render(again) == rendered, "rendered twice, two texts")


def arguments(data: bytes) -> None:
    """``parse_arguments`` and back."""
    try:
        found = values.parse_arguments(text_of(data))
    except ValueFormatError:
        return
    try:
        rendered = values.render_arguments(found)
    except ValueFormatError as exc:
        require("complex" in str(exc), f"parsed and not rendered: {exc}")
        return
    if len(rendered) <= values.MAX_TEXT:
        require(values.equal(values.parse_arguments(rendered), found), f"{rendered!r} is another list")


def canonical(data: bytes) -> None:
    """``decode`` reads nothing but what ``encode`` writes."""
    text = text_of(data)
    try:
        value = values.decode(text)
    except ValueFormatError:
        return
    require(values.encode(value, ordered=True) == text, "two texts of one value")
    there_and_back(value)


def results(data: bytes) -> None:
    """What a child writes, read as outcomes: one for each call, whatever it wrote."""
    body = frames.LOCKED + data[2:] if data[:1] < b"\xf0" else data
    ending, status = data[0] % 4 if data else 0, data[1] if len(data) > 1 else 0
    for load in LOADS:
        try:
            found = reports.outcomes(load, ending, status, body)
        except reports.OurFault:
            killed = ending == frames.FINISHED and status & 0x7F == signal.SIGKILL  # by another, then
            ours = ending == frames.NO_FORK or not body.startswith(frames.LOCKED) or killed
            require(ours, "a program looks like our fault")
            continue
        require(len(found) == load.calls, "not one outcome per call")
        require(all(isinstance(outcome, Outcome) for outcome in found), "another type")


def requests(data: bytes) -> None:
    """Programs and calls come out of a request as they went in."""
    texts = text_of(data).split("|")
    programs = [(text, texts[at + 1 : at + 1 + at % 3]) for at, text in enumerate(texts)]
    body = frames.pack_programs(programs)
    require(frames.unpack_programs(memoryview(body), len(programs)) == programs, "another request")


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (answer, proposal, literal, arguments, canonical, results, requests)
}
SEEDS: Mapping[str, list[str]] = {
    "answer": ["<think>a</think><answer>\n```output\n[1]\n```\n</answer>", "<think>b</think>\n`````input\n```\n`````"],
    "proposal": ["<think></think><answer>```python\ndef f(x): return x\n```\n```input\n1\n```\n</answer>"],
    "literal": ["{1: (2.5, -1e9), 'a': {b'x'}}", "frozenset({1})", "float('nan')", "-2.0+3j", "set()", "'\\ud800'"],
    "arguments": ["(1, 2), 'a'", "1,", "[], {}, None", "x=1", "*a"],
    "canonical": ["{i1;s1:a[(NTF)]}", "/b00;<fnan;>\\", "c0x1.8p+1,-0x0.0p+0;", "finf;"],
    "results": ["\x00\x00\x00\x02\x00\x00\x00i1\x01\x00\x00\x00\x00", "\x01\t"],
    "requests": ["a|b|c|d", "|||"],
}
SEEDS["proposal"].append("def f(x): return x\ninput: 1\nmessage: so")


def with_atheris(target: Callable[[bytes], None], seconds: int) -> None:
    """Runs one target under libFuzzer; ends the process."""
    import atheris

    for name in ("azr_env.wire", "azr_env.values", "azr_env.parsing", "azr_env.executors.zygote.reports"):
        for thing in vars(sys.modules[name]).values():
            for function in (thing, *vars(thing).values()) if inspect.isclass(thing) else (thing,):
                if inspect.isfunction(function) and function.__module__ == name:
                    atheris.instrument_func(function)  # in place
    with tempfile.TemporaryDirectory() as folder:
        for at, text in enumerate(SEEDS[target.__name__]):
            Path(folder, str(at)).write_bytes(text.encode("utf-8", "surrogatepass"))
        flags = [f"-max_total_time={seconds}", f"-timeout={HANG_S}", f"-max_len={LONGEST}", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *flags, f"-artifact_prefix={folder}/", folder], target)
        atheris.Fuzz()


def with_hypothesis(target: Callable[[bytes], None], seconds: int) -> None:
    """Runs one target on what Hypothesis makes: bytes, any text, literals, near misses of the seeds."""
    from hypothesis import HealthCheck, given, seed, settings
    from hypothesis import strategies as st

    from azr_env.testing.strategies import literals, near_misses, plain_values, wild_text

    texts = [wild_text, literals.map(repr), plain_values.map(values.encode)]
    texts += [near_misses(text) for text in SEEDS[target.__name__]]
    inputs = st.one_of(
        st.binary(max_size=400),
        st.one_of(texts).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.tuples(st.sampled_from(SEEDS[target.__name__]), st.integers(1, 3000)).map(
            lambda pair: (pair[0] * pair[1]).encode("utf-8", "surrogatepass")[:LONGEST]
        ),
    )
    count, end = 0, time.monotonic() + seconds

    def watched(data: bytes) -> None:
        nonlocal count
        count += 1
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        target(data)
        faulthandler.cancel_dump_traceback_later()

    round_number = 0
    while time.monotonic() < end:
        calm = settings(max_examples=200, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        seed(round_number)(calm(given(inputs)(watched)))()
        round_number += 1
    print(f"stat::number_of_executed_units: {count}")


def run_one(name: str, seconds: int, guided: bool) -> tuple[int, bool, str]:
    """Runs a target in a process of its own. Gives executions, whether there is a finding, and the last lines."""
    command = [sys.executable, __file__, "--target", name, "--seconds", str(seconds)]
    done = subprocess.run(
        command + ([] if guided else ["--plain"]),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=seconds * 3 + 120,
    )
    said = done.stdout + done.stderr
    counted = re.search(r"number_of_executed_units:\s+(\d+)", said)
    tail = "" if done.returncode == 0 else "\n".join(said.splitlines()[-25:])
    return int(counted[1]) if counted else 0, done.returncode != 0, tail


def measure(options: argparse.Namespace) -> Report:
    """Runs every target, or those named with ``--only``."""
    guided = not options.plain and importlib.util.find_spec("atheris") is not None
    seconds = QUICK_S if options.quick else options.seconds
    report = Report(["target", "executions", "per second", "findings"])
    report.notes.append(f"{seconds} s each, inputs by {'atheris' if guided else 'Hypothesis'}")
    findings = 0
    for name in options.only or TARGETS:
        count, found, tail = run_one(name, seconds, guided)
        findings += found
        report.rows.append([name, count, float(count / seconds), int(found)])
        report.figures[f"{name}_executions"] = count
        if found:
            report.notes.append(f"{name}:\n{tail}")
    report.figures["findings"] = findings
    report.figures["fewest_executions"] = min(int(str(row[1])) for row in report.rows)
    return report


BARS = {"findings": Bar(0, at_most=True), "fewest_executions": Bar(100)}


def flags(parser: argparse.ArgumentParser) -> None:
    """Adds what this benchmark alone has."""
    parser.add_argument("--seconds", type=int, default=10, help="time for each target")
    parser.add_argument("--only", nargs="+", choices=sorted(TARGETS), help="these targets alone")
    parser.add_argument("--plain", action="store_true", help="Hypothesis, even where atheris is installed")
    parser.add_argument("--target", choices=sorted(TARGETS), help="run this target in this process, as the others do")


def one_here() -> None:
    """The process of one target."""
    parser = argparse.ArgumentParser()
    flags(parser)
    options = parser.parse_args()
    guided = not options.plain and importlib.util.find_spec("atheris") is not None
    (with_atheris if guided else with_hypothesis)(TARGETS[options.target], options.seconds)


if __name__ == "__main__":
    if "--target" in sys.argv:
        one_here()
        os._exit(0)
    sys.exit(main((__doc__ or "").splitlines()[0], measure, BARS, flags))
