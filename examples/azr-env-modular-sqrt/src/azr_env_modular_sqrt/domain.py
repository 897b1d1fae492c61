"""The relation R(p, x, n): p is a prime up to ``max_prime``, x and n are in 1..p-1, and x*x = n (mod p)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt

import numpy as np

from azr_env.errors import SettingError
from azr_env.protocols import Executor
from azr_env.types import Claim, Draft, Example, Mode, Rejection, Slot, Status, Task, Verdict

LARGEST = 10_000
"""Upper end of what ``max_prime`` may be."""
MAX_DIGITS = 9
"""A number of more digits is refused unread."""

INSTRUCTIONS = {
    Mode.DEDUCTION: "Below are a prime p and a number x. Find x*x modulo p: the number n with 1 <= n < p and "
    "x*x = n (mod p).",
    Mode.ABDUCTION: "Below are a prime p and a number n. Find a square root of n modulo p: a number x with "
    "1 <= x < p and x*x = n (mod p). There are two, and either is right.",
    Mode.INDUCTION: "Below are an input x and an output n. Find a prime p, larger than both and at most {max_prime}, "
    "with x*x = n (mod p). Any such prime is right.",
}
PROPOSE = (
    "Make a new exercise on squares modulo a prime: choose a prime p with p <= {max_prime} and a number x with "
    "1 <= x < p. With n = x*x modulo p, a solver will be asked to {ask}. A good exercise differs from the "
    "references, and a solver gets it right sometimes but not always. Answer with two fenced blocks, a ```prime block "
    "with p and an ```input block with x, each a plain decimal number."
)
ASKS = {
    Mode.DEDUCTION: "find n from p and x",
    Mode.ABDUCTION: "find x from p and n",
    Mode.INDUCTION: "find p from x and n, where x*x must not be smaller than p",
}


def number(text: str) -> int | None:
    """The natural number that ``text`` writes in ASCII digits, without sign or leading zero; else ``None``."""
    text = text.strip()
    if not text.isascii() or not text.isdigit() or len(text) > MAX_DIGITS or (text[0] == "0" and text != "0"):
        return None
    return int(text)


class ModularSqrtDomain:
    """Program = prime p, input = root x, output = n = x*x mod p.

    Args:
        max_prime: largest prime, from 3 to 10,000.
        executor: taken because every domain is given one, and not used: the relation is arithmetic.

    Raises:
        SettingError: ``max_prime`` out of range.
    """

    name = "modular_sqrt"
    fences: Mapping[Slot, str] = {Slot.PROGRAM: "prime", Slot.INPUT: "input", Slot.OUTPUT: "output"}
    induction_inputs = (1, 1)

    def __init__(self, max_prime: int = 97, executor: str | Executor | None = None) -> None:
        if not isinstance(max_prime, int) or not 3 <= max_prime <= LARGEST:
            raise SettingError(f"max_prime={max_prime!r}; it is a whole number from 3 to {LARGEST}")
        self.max_prime = max_prime
        self.primes = [p for p in range(2, max_prime + 1) if all(p % d for d in range(2, isqrt(p) + 1))]
        self._prime_set = frozenset(self.primes)
        self.instructions: Mapping[str, str] = {
            **{mode: INSTRUCTIONS[mode].format(max_prime=max_prime) for mode in Mode},
            **{f"propose-{mode}": PROPOSE.format(max_prime=max_prime, ask=ASKS[mode]) for mode in Mode},
        }

    def fits(self, p: int, x: int, n: int) -> bool:
        """R(p, x, n); an n outside 1..p-1 is no remainder of a square of x."""
        return p in self._prime_set and 1 <= x < p and x * x % p == n

    def holds(self, claims: Sequence[Claim]) -> list[Verdict]:
        """For each claim: does R hold for every example? Total: any text gets a verdict."""
        return [self._verdict(claim) for claim in claims]

    def _verdict(self, claim: Claim) -> Verdict:
        if number(claim.answer) is None:
            return Verdict(Status.REJECTED, "the answer is not one plain natural number")
        if not claim.examples:
            return Verdict(Status.ERROR, "the task has no example")
        p = number(claim.program)
        for example in claim.examples:
            x, n = number(example.input), number(example.output)
            if p is None or x is None or n is None:
                return Verdict(Status.ERROR, "the task's own numbers cannot be read")
            if not self.fits(p, x, n):
                return Verdict(Status.INCORRECT, "x*x is not n modulo p, or a number is out of range")
        return Verdict(Status.CORRECT)

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        """The task of each draft, its output worked out, or why it was refused."""
        return [self._admit(draft) for draft in drafts]

    def _admit(self, draft: Draft) -> Task | Rejection:
        if len(draft.inputs) != 1:
            return Rejection("inputs", f"{len(draft.inputs)} inputs, exactly one is asked for")
        p, x = number(draft.program), number(draft.inputs[0])
        if p is None or x is None:
            return Rejection("syntax", "p and x must be plain natural numbers")
        if p not in self._prime_set or not 1 <= x < p:
            return Rejection("invalid", f"p must be a prime up to {self.max_prime}, and x in 1..p-1")
        if draft.mode is Mode.INDUCTION and x * x < p:
            return Rejection("trivial", "n is x*x itself, so every larger prime fits")
        example = Example(str(x), str(x * x % p))
        shown = 1 if draft.mode is Mode.INDUCTION else 0
        return Task(f"{draft.mode}-{p}-{x}", self.name, draft.mode, str(p), (example,), shown)

    def generate(self, mode: Mode, rng: np.random.Generator, settings: Mapping[str, str]) -> Draft:
        """A random pair: p uniform over the primes of the range, x uniform over those that are admitted.

        ``settings``: ``primes=LOW-HIGH``, the range of p; default 3 to ``max_prime``.

        Raises:
            SettingError: another setting, or a range without an odd prime up to ``max_prime``.
        """
        pool = self._pool(settings)
        p = pool[int(rng.integers(len(pool)))]
        least = isqrt(p) + 1 if mode is Mode.INDUCTION else 1
        return Draft(mode, str(p), (str(int(rng.integers(least, p))),))

    def _pool(self, settings: Mapping[str, str]) -> list[int]:
        unknown = sorted(set(settings) - {"primes"})
        if unknown:
            raise SettingError(f"builtin setting {unknown[0]!r} is unknown here; there is primes=LOW-HIGH")
        text = settings.get("primes", f"3-{self.max_prime}")
        low, high = (number(part) for part in text.partition("-")[::2])
        if low is not None and high is not None and high <= self.max_prime:
            pool = [p for p in self.primes if max(low, 3) <= p <= high]
            if pool:
                return pool
        raise SettingError(f"primes={text!r}: give LOW-HIGH with an odd prime between, HIGH <= {self.max_prime}")

    def seeds(self, mode: Mode) -> list[Draft]:
        """The smallest exercise that every mode admits: x = 2 modulo 3."""
        return [Draft(mode, "3", ("2",))]

    def identity(self, task: Task) -> str:
        """Mode, prime and root."""
        return f"{task.mode} {task.program} {task.examples[0].input}"

    def facts(self, task: Task) -> frozenset[str]:
        """``p:root`` with the smaller of the two roots, for every prime that makes it true when p is the unknown."""
        x, n = int(task.examples[0].input), int(task.examples[0].output)
        moduli = {int(task.program)}
        if task.mode is Mode.INDUCTION:
            moduli.update(p for p in self.primes if self.fits(p, x, n))
        return frozenset(f"{p}:{min(x, p - x)}" for p in moduli)
