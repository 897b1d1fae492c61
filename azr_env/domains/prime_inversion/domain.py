"""The prime-inversion domain, after the ARENA reproduction of Absolute Zero, without its defects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from azr_env.domains.prime_inversion.arithmetic import holds, moduli, natural, prime_set, primes
from azr_env.domains.prime_inversion.instructions import ASKS, INSTRUCTIONS
from azr_env.errors import SettingError
from azr_env.protocols import Executor
from azr_env.types import Claim, Draft, Example, Mode, Rejection, Slot, Status, Task, Verdict


class PrimeInversionDomain:
    """Program = prime p, input = x, output = y; R holds when p is prime, p <= max_prime and x*y = 1 (mod p).

    Args:
        max_prime: largest prime, from 3 to 1,000,003.
        executor: taken for uniformity and not used; the relation is arithmetic.

    Raises:
        SettingError: ``max_prime`` out of range.
    """

    name = "prime_inversion"
    fences: Mapping[Slot, str] = {Slot.PROGRAM: "prime", Slot.INPUT: "input", Slot.OUTPUT: "output"}
    induction_inputs = (1, 1)

    def __init__(self, max_prime: int = 97, executor: str | Executor | None = None) -> None:
        if not isinstance(max_prime, int) or not 3 <= max_prime <= 1_000_003:
            raise SettingError(f"max_prime={max_prime!r}; it is a whole number from 3 to 1000003")
        self.max_prime = max_prime
        self.instructions: Mapping[str, str] = {
            **{mode: INSTRUCTIONS[mode].format(max_prime=max_prime) for mode in Mode},
            **{f"propose-{mode}": INSTRUCTIONS["propose"].format(max_prime=max_prime, ask=ASKS[mode]) for mode in Mode},
        }

    def holds(self, claims: Sequence[Claim]) -> list[Verdict]:
        """For each claim: does R hold for every example? Pure arithmetic; total."""
        return [self._holds(claim) for claim in claims]

    def _holds(self, claim: Claim) -> Verdict:
        if natural(claim.answer) is None:
            return Verdict(Status.REJECTED, "the answer is not one plain natural number")
        if not claim.examples:
            return Verdict(Status.ERROR, "the task has no example")
        p = natural(claim.program)
        for example in claim.examples:
            x, y = natural(example.input), natural(example.output)
            if p is None or x is None or y is None or not holds(p, x, y, self.max_prime):
                return Verdict(Status.INCORRECT, self._why(p, x, y))
        return Verdict(Status.CORRECT)

    def _why(self, p: int | None, x: int | None, y: int | None) -> str:
        if p is None or x is None or y is None:
            return "not a number"
        if not 1 <= x < max(p, 1) or not 1 <= y < p:
            return "x and y must lie in 1..p-1"
        if x * y % p != 1:
            return f"{x}*{y} = {x * y % p} (mod {p})"
        return f"{p} is not a prime up to {self.max_prime}"

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        """The task of each draft, its output worked out, or why it was refused."""
        return [self._admit(draft) for draft in drafts]

    def _admit(self, draft: Draft) -> Task | Rejection:
        if len(draft.inputs) != 1:
            return Rejection("inputs", f"{len(draft.inputs)} inputs, exactly one is asked for")
        p, x = natural(draft.program), natural(draft.inputs[0])
        if p is None or x is None:
            return Rejection("syntax", "p and x must be plain natural numbers")
        if p > self.max_prime:
            return Rejection("size", f"p is over {self.max_prime}")
        if p not in prime_set(self.max_prime):
            return Rejection("invalid", f"{p} is not prime")
        if not 1 <= x < p:
            return Rejection("invalid", f"x = {x} is not in 1..{p - 1}")
        return self.task(draft.mode, p, x)

    def task(self, mode: Mode, p: int, x: int) -> Task:
        """The task of that mode about the inverse of x modulo p.

        Raises:
            SettingError: p is not a prime up to ``max_prime``, or x is not in 1..p-1.
        """
        if p not in prime_set(self.max_prime) or not 1 <= x < p:
            raise SettingError(f"no task for p={p}, x={x}: p must be a prime up to {self.max_prime}, 1 <= x < p")
        example = Example(str(x), str(pow(x, -1, p)))
        shown = 1 if mode is Mode.INDUCTION else 0
        return Task(f"{mode}-{p}-{x}", self.name, mode, str(p), (example,), shown)

    def generate(self, mode: Mode, rng: np.random.Generator, settings: Mapping[str, str]) -> Draft:
        """A random pair: p uniform over the primes of the range, x uniform in 1..p-1.

        ``settings``: ``primes=LOW-HIGH``, the range of p; default 3 to ``max_prime``.
        """
        low, high = self._range(settings)
        pool = [p for p in primes(high) if p >= low]
        p = pool[int(rng.integers(len(pool)))]
        return Draft(mode, str(p), (str(int(rng.integers(1, p))),))

    def _range(self, settings: Mapping[str, str]) -> tuple[int, int]:
        unknown = set(settings) - {"primes"}
        if unknown:
            raise SettingError(f"builtin setting {sorted(unknown)[0]!r} is unknown here; there is primes=LOW-HIGH")
        text = settings.get("primes", f"3-{self.max_prime}")
        low_text, _, high_text = text.partition("-")
        low, high = natural(low_text), natural(high_text)
        if low is None or high is None or high > self.max_prime or not any(p >= low for p in primes(high)):
            raise SettingError(f"primes={text!r}: give LOW-HIGH with a prime between them, HIGH <= {self.max_prime}")
        return low, high

    def seeds(self, mode: Mode) -> list[Draft]:
        """The smallest exercise there is: x = 2 modulo 3."""
        return [Draft(mode, "3", ("2",))]

    def identity(self, task: Task) -> str:
        """Mode, prime and input."""
        return f"{task.mode} {task.program} {task.examples[0].input}"

    def facts(self, task: Task) -> frozenset[str]:
        """``p:min:max`` of the unordered pair, for every prime that makes it true when p is the unknown.

        (p, x) in deduction and (p, y) in abduction are one fact, and so share the key.
        """
        x, y = sorted((int(task.examples[0].input), int(task.examples[0].output)))
        if task.mode is Mode.INDUCTION:
            return frozenset(f"{p}:{x}:{y}" for p in moduli(x, y, self.max_prime))
        return frozenset({f"{task.program}:{x}:{y}"})
