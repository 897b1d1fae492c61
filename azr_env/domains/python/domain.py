"""The Python domain: R(program, input, output) holds when ``f(*input) == output``."""

from __future__ import annotations

import builtins
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from azr_env import registry, values
from azr_env.domains.python import admission, builtin
from azr_env.domains.python.instructions import ERRORS, INSTRUCTIONS
from azr_env.errors import SettingError, ValueFormatError
from azr_env.protocols import Executor
from azr_env.types import (
    BLANK,
    Claim,
    Draft,
    Example,
    Job,
    Limits,
    Mode,
    Outcome,
    OutcomeStatus,
    Rejection,
    Slot,
    Status,
    Task,
    Verdict,
)

_FAILED: Mapping[OutcomeStatus, Status] = {
    OutcomeStatus.TIMEOUT: Status.TIMEOUT,
    OutcomeStatus.MEMORY: Status.TIMEOUT,
    OutcomeStatus.INFRA: Status.ERROR,
}
MAX_VALUE_TEXT = 4_000
"""Longest text, in characters, of an input or output of an admitted task. Nothing is ever cut: longer ones are
refused."""

MAX_MESSAGE = 2_000
"""Longest message, in characters, of an admitted task: it stands in every prompt."""
_EXCEPTIONS = frozenset(
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
)
MAX_TOLD = 200
"""Characters of a returned value that a verdict repeats."""


class PythonDomain:
    """Programs are Python source with a function ``f``; inputs are argument lists; outputs are values.

    Args:
        executor: runs programs; a name, or an object that may be shared.
        limits: bounds on one program run; a mapping of their names to values will do.
        equality: ``strict`` or ``python``, see :data:`azr_env.values.Equality`.
        induction_inputs: inputs of an induction task, at least 2; the first half is shown (paper: 10).
        errors: ``refuse`` programs that raise, or in deduction ``predict``: the output of a program that raises an
            exception of a built-in type is then the bare name of that type (the paper's error deduction).

    Raises:
        UnknownNameError: no executor of that name.
        SettingError: ``induction_inputs`` under 2, an unknown equality, an unknown limit, or another ``errors``.
    """

    name = "python"
    fences: Mapping[Slot, str] = {Slot.PROGRAM: "python", Slot.INPUT: "input", Slot.OUTPUT: "output"}

    def __init__(
        self,
        executor: str | Executor = "zygote",
        limits: Limits | Mapping[str, float] = Limits(),
        equality: values.Equality = "strict",
        induction_inputs: int = 10,
        errors: str = "refuse",
    ) -> None:
        if errors not in ("refuse", "predict"):
            raise SettingError(f"errors={errors!r}; it is refuse or predict")
        if not isinstance(induction_inputs, int) or not 2 <= induction_inputs <= 64:
            raise SettingError(f"induction_inputs={induction_inputs!r}; it is a whole number from 2 to 64")
        values.equal(0, 0, equality)
        self.executor = registry.executor(executor)
        self.limits = limits = _limits(limits)
        self.equality = equality
        self.predicts_errors = errors == "predict"
        self.induction_inputs = (induction_inputs, induction_inputs // 2)
        inputs, shown = self.induction_inputs
        self.instructions: Mapping[str, str] = {
            key: text.format(timeout=limits.timeout_s, inputs=inputs, shown=shown)
            + (ERRORS.get(key, "") if self.predicts_errors else "")
            for key, text in INSTRUCTIONS.items()
        }

    def holds(self, claims: Sequence[Claim]) -> list[Verdict]:
        """For each claim: does R hold for every example? Total; one executor call for the whole batch.

        A claim whose blank slot is the output runs nothing: the task's key is the output of that program on that
        input, and two values are compared. A claim that holds by the word of an executor that is not its own
        authority is put to the authority again; those make one more executor call.
        """
        verdicts = self._holds(claims, self.executor)
        authority = self.executor.authority
        if authority is not self.executor:
            earning = [
                number
                for number, claim in enumerate(claims)
                if _unsettled(verdicts[number]) and BLANK[claim.task.mode] is not Slot.OUTPUT
            ]
            settled = self._holds([claims[number] for number in earning], authority)
            for number, verdict in zip(earning, settled, strict=True):
                verdicts[number] = verdict
        return verdicts

    def _holds(self, claims: Sequence[Claim], executor: Executor) -> list[Verdict]:
        """Verdicts by the word of one executor."""
        verdicts: list[Verdict | None] = []
        jobs: list[Job] = []
        for claim in claims:
            if not claim.examples:
                verdicts.append(Verdict(Status.ERROR, "the task has no example"))
                continue
            prepared = self._compare(claim) if BLANK[claim.task.mode] is Slot.OUTPUT else self._job(claim)
            if isinstance(prepared, Job):
                jobs.append(prepared)
                verdicts.append(None)
            else:
                verdicts.append(prepared)
        outcomes = iter(executor.run(jobs) if jobs else [])
        return [
            self._judge(claim, next(outcomes)) if verdict is None else verdict
            for claim, verdict in zip(claims, verdicts, strict=True)
        ]

    def _compare(self, claim: Claim) -> Verdict:
        key, name = claim.task.examples[0].output, claim.answer.strip()
        if self.predicts_errors and _EXCEPTIONS & {key, name}:
            return Verdict(Status.CORRECT) if name == key else Verdict(Status.INCORRECT, "the program ends otherwise")
        try:
            answer = values.parse(claim.answer)
        except ValueFormatError as exc:
            return Verdict(Status.REJECTED, str(exc))
        try:
            if self.equality == "strict":  # by canonical text, of which the key's is remembered
                right = values.encode(answer) == _canonical(key)
            else:
                right = values.equal(answer, values.parse(key), self.equality)
        except ValueFormatError as exc:
            return _bad_key(exc)
        if right:
            return Verdict(Status.CORRECT)
        return Verdict(Status.INCORRECT, "another value than the program returns")

    def _job(self, claim: Claim) -> Job | Verdict:
        if BLANK[claim.task.mode] is Slot.PROGRAM:
            rejection = admission.check(claim.program, parameters=False)
            if rejection is not None:
                return Verdict(Status.REJECTED, f"{rejection.reason}: {rejection.detail}")
        try:
            calls = tuple(_call(values.parse_arguments(example.input)) for example in claim.examples)
        except ValueFormatError as exc:
            return Verdict(Status.REJECTED, str(exc)) if BLANK[claim.task.mode] is Slot.INPUT else _bad_key(exc)
        return Job(claim.program, calls, self.limits)

    def _judge(self, claim: Claim, outcomes: Sequence[Outcome]) -> Verdict:
        # How the runs ended comes first: a status that depended on both would tell which hidden output was met.
        for outcome in outcomes:
            if outcome.status is not OutcomeStatus.OK:
                return Verdict(_FAILED.get(outcome.status, Status.INCORRECT), _ending(claim, outcome))
        for example, outcome in zip(claim.examples, outcomes, strict=True):
            try:
                returned = values.decode(outcome.value)
            except ValueFormatError:
                return Verdict(Status.INCORRECT, "the program returns no plain value")
            try:
                expected = values.parse(example.output)
            except ValueFormatError as exc:
                return _bad_key(exc)
            if not values.equal(returned, expected, self.equality):
                return Verdict(Status.INCORRECT, _returned(claim, returned))
        return Verdict(Status.CORRECT)

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        """Runs drafts under two hash seeds, by the executor's authority, and makes tasks of those that pass the gate.

        The gate: syntax and size, nothing forbidden, plain input values, and equal, plain, not too long outputs in
        three runs: [x, x] in one process and [x] in another with a different hash seed, in half the time: who is near
        the limit would be right or wrong by the load of the machine. In induction the other process runs the hidden
        inputs first, as the verifier will: state kept between calls shows.
        """
        results: list[Task | Rejection | None] = []
        jobs: list[Job] = []
        half = dataclasses.replace(self.limits, timeout_s=self.limits.timeout_s / 2)
        for draft in drafts:
            calls = self._calls(draft)
            if isinstance(calls, Rejection):
                results.append(calls)
                continue
            results.append(None)
            shown = self._shown(draft.mode)
            again = calls[shown:] + calls[:shown]
            jobs += [Job(draft.program, calls * 2, self.limits, lane=0), Job(draft.program, again, half, lane=1)]
        outcomes = iter(self.executor.authority.run(jobs) if jobs else [])
        return [
            self._task(draft, [*next(outcomes), *next(outcomes)]) if result is None else result
            for draft, result in zip(drafts, results, strict=True)
        ]

    def _calls(self, draft: Draft) -> tuple[str, ...] | Rejection:
        rejection = admission.check(draft.program)
        if rejection is not None:
            return rejection
        wanted = self.induction_inputs[0] if draft.mode is Mode.INDUCTION else 1
        if len(draft.inputs) < wanted:
            return Rejection("inputs", f"{len(draft.inputs)} inputs, {wanted} are asked for")
        if len(draft.message) > MAX_MESSAGE:
            return Rejection("size", f"a message of {len(draft.message)} characters, at most {MAX_MESSAGE}")
        if draft.message and _leaks(draft):
            return Rejection("leak", "the message contains code of the program")
        calls = []
        for text in draft.inputs[:wanted]:
            try:
                arguments = values.parse_arguments(text)
                if not arguments:
                    return Rejection("input", "no argument")
                if len(values.render_arguments(arguments)) > MAX_VALUE_TEXT:
                    return Rejection("size", f"an input over {MAX_VALUE_TEXT} characters")
                calls.append(_call(arguments))
            except ValueFormatError as exc:
                return Rejection("input", str(exc))
        if len(set(calls)) < len(calls):
            return Rejection("inputs", "an input is given twice")
        return tuple(calls)

    def _task(self, draft: Draft, outcomes: Sequence[Outcome]) -> Task | Rejection:
        if self.predicts_errors and draft.mode is Mode.DEDUCTION:
            error = _raised(outcomes)
            if isinstance(error, Rejection):
                return error
            if error:
                arguments = values.render_arguments(values.parse_arguments(draft.inputs[0]))
                return self._made(draft, (Example(arguments, error),))
        for outcome in outcomes:
            if outcome.status is OutcomeStatus.INFRA:
                return Rejection("error", outcome.detail)
            if outcome.status is not OutcomeStatus.OK:
                return Rejection(str(outcome.status), outcome.detail)
        count = len(outcomes) // 3
        shown = self._shown(draft.mode)
        first, again, elsewhere = (outcomes[k * count : (k + 1) * count] for k in range(3))
        runs = [
            [outcome.value for outcome in run] for run in (first, again, [*elsewhere[-shown:], *elsewhere[:-shown]])
        ]
        if not runs[0] == runs[1] == runs[2]:
            return Rejection("nondeterministic", "runs on the same input gave different values")
        examples = []
        for text, value in zip(draft.inputs, runs[0], strict=False):
            try:
                output = values.render(values.decode(value))
                if not values.equal(values.decode(value), values.parse(output), self.equality):
                    return Rejection("unsupported", f"under {self.equality} equality the output does not equal itself")
            except ValueFormatError as exc:
                return Rejection("unsupported", str(exc))
            if len(output) > MAX_VALUE_TEXT:
                return Rejection("size", f"an output over {MAX_VALUE_TEXT} characters")
            examples.append(Example(values.render_arguments(values.parse_arguments(text)), output))
        return self._made(draft, tuple(examples))

    def _made(self, draft: Draft, examples: tuple[Example, ...]) -> Task:
        """The task of a draft that has passed the gate, with the id that follows from its identity."""
        task = Task("", self.name, draft.mode, draft.program, examples, self._shown(draft.mode), draft.message)
        digest = hashlib.sha256(self.identity(task).encode("utf-8", "surrogatepass")).hexdigest()
        return dataclasses.replace(task, id=f"{draft.mode}-{digest[:16]}")

    def _shown(self, mode: Mode) -> int:
        return self.induction_inputs[1] if mode is Mode.INDUCTION else 0

    def generate(self, mode: Mode, rng: np.random.Generator, settings: Mapping[str, str]) -> Draft:
        """A typed random program with random inputs; see :mod:`azr_env.domains.python.builtin` for the settings."""
        return builtin.draft(mode, rng, settings, self.induction_inputs[0])

    def seeds(self, mode: Mode) -> list[Draft]:
        """The paper's identity task, and six inputs and more of it for induction."""
        program = "def f(a): return a"
        if mode is not Mode.INDUCTION:
            return [Draft(mode, program, ("'Hello world'",))]
        inputs = ("'Hello world'", "1", "[1, 2]", "(1.1, 1.2, 1.3)", "{'a': 1}", "None", "True", "''", "-7", "[[0]]")
        count = self.induction_inputs[0]
        more = tuple(str(number) for number in range(100, 100 + max(0, count - len(inputs))))
        message = "Write a function that gives back whatever it is given."
        return [Draft(mode, program, (inputs + more)[:count], message)]

    def identity(self, task: Task) -> str:
        """Mode, normalised program, and its inputs."""
        inputs = "\n".join(sorted(example.input for example in task.examples))
        return f"{task.mode}\n{admission.normalise(task.program)}\n{inputs}"

    def facts(self, task: Task) -> frozenset[str]:
        """The normalised program."""
        return frozenset({admission.normalise(task.program)})


def _raised(outcomes: Sequence[Outcome]) -> str | Rejection:
    """The built-in exception type that every run raised; empty where a run ended in another way than by raising."""
    if any(outcome.status is not OutcomeStatus.RAISED for outcome in outcomes):
        return ""
    names = {outcome.detail.partition(":")[0] for outcome in outcomes}
    if len(names) > 1:
        return Rejection("nondeterministic", "runs on the same input raised different exceptions")
    return names.pop() if names <= _EXCEPTIONS else Rejection("raised", f"{names.pop()} is no built-in exception")


def _canonical(key: str) -> str:
    return _remembered(key) if len(key) <= 1_000 else values.encode(values.parse(key))


@lru_cache(maxsize=16_384)
def _remembered(key: str) -> str:
    return values.encode(values.parse(key))


def _call(arguments: tuple[object, ...]) -> str:
    return values.encode(arguments, ordered=True)


def _limits(limits: Limits | Mapping[str, float]) -> Limits:
    if isinstance(limits, Limits):
        return limits
    if not isinstance(limits, Mapping) or not all(type(value) in (int, float) for value in limits.values()):
        raise SettingError(f"limits={limits!r}; give a Limits, or a mapping of its fields' names to numbers")
    names = [field.name for field in dataclasses.fields(Limits)]
    unknown = sorted(set(limits) - set(names))
    if unknown:
        raise SettingError(f"limits: {unknown[0]!r} is unknown; there are {', '.join(names)}")
    return Limits(**limits)  # type: ignore[arg-type]


def _unsettled(verdict: Verdict) -> bool:
    """Whether the authority is to be asked: the answer would earn a reward, or could not be run by who was asked."""
    return verdict.status is Status.CORRECT or verdict.reason.partition(":")[0] == OutcomeStatus.UNSUPPORTED


def _ending(claim: Claim, outcome: Outcome) -> str:
    """How a run ended; of an answer's own program only what it cannot write hidden inputs into."""
    detail = outcome.detail
    if BLANK[claim.task.mode] is Slot.PROGRAM and outcome.status is not OutcomeStatus.INFRA:
        name = detail.partition(":")[0]
        detail = name if name in _EXCEPTIONS else ""
    return f"{outcome.status}: {detail}" if detail else str(outcome.status)


def _returned(claim: Claim, value: object) -> str:
    """Why an answer is wrong: with the value where the program was given, never what it made of hidden inputs."""
    if BLANK[claim.task.mode] is not Slot.INPUT:
        return "the program returns another value"
    try:
        text = values.render(value)
    except ValueFormatError:
        return "the program returns another value"
    return f"the program returns {text if len(text) <= MAX_TOLD else text[:MAX_TOLD] + '...'}"


def _bad_key(exc: ValueFormatError) -> Verdict:
    return Verdict(Status.ERROR, f"the task's own values cannot be read: {exc}")


def _leaks(draft: Draft) -> bool:
    """Whether the message holds the program, a function's body or a telling line; only letters and digits count."""
    lines = draft.program.split("\n")
    message = _letters(draft.message)
    bodies = [_letters("".join(text)) for text in (lines, lines[1:], *admission.bodies(draft.program))]
    telling = [line for line in map(_letters, lines) if len(line) >= 12]
    return any(len(piece) >= 8 and piece in message for piece in [*bodies, *telling])


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))
