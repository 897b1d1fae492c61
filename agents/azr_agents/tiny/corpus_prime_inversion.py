"""Rows that warm up the base for prime inversion: x * y = 1 (mod p), p a prime up to 61.

Deduction and abduction are worked by the extended Euclidean algorithm. The state is
two remainders and the sizes of their two coefficients; one step is

    sign, quotient q, q * r1, q * t1, r0 - q * r1, t0 + q * t1

so that the newest two of each kind stand at fixed distances (zeros fill up the start) and it stops
at the remainder 1. Coefficients alternate in sign, so sizes are enough; after a minus
the answer is n - t, worked as `= n t n-t`. Examples, the inverses of 17 and 29 modulo 61:

    <think> 61 0+ 0 0 0 17 1- 3 51 3 10 3+ 1 10 3 7 4- 1 7 4 3 7+ 2 6 14 1 18</think> 18
    <think> 61 0+ 0 0 0 29 1- 2 58 2 3 2+ 9 27 18 2 19- 1 2 19 1 21= 61 21 40</think> 40

Induction factors N = x * y - 1. With M = max(x, y) and m = min(x, y), first M, m, the tens and units of M,
m times the tens, m times the units, and N, the last three in hundreds and the rest. Then the primes q above M
in ascending order: N again, q, the integer k nearest to N / q, and k * q, until that is N. (N again, because
numbers that are compared must stand at a fixed distance. The nearest integer, not the
floor: then an exact multiple of q sits in the middle of the range of N that shares k, and a
slip at the border does no harm.) Example:

    <think> 18 17 1 8 1.70 1.36 3.05 19 16 3.04 3.05 23 13 2.99 ... 3.05 61 5 3.05</think> 61

No row contains a fact that is held out or reserved for training. Facts with a composite modulus
or a prime above 61 are free, and so are single divisions in drills.
"""

from math import gcd

import numpy as np

from azr_agents import heldout
from azr_agents.tiny.rows import DRILL, MARKER, MODES, Question, Row, draw_kind, pick, worked
from azr_agents.tiny.tokenizer import THINK

PLAIN_WORKED = 0.05
"""Share of plain rows that are worked; on facts it has not seen the base works about three times as often."""
PLAIN_PRIMES = 0.15
"""Share of plain inversions whose modulus is a prime of the range. A small one: answers given at once are memorised,
and a base that knows the facts of its corpus by heart leaves training nothing to find."""
INDUCTION = 0.25
"""Share of induction among the plain and worked rows."""
LIMIT = 61
WIDEST = 73
"""The largest modulus in the corpus; those above `LIMIT` only add material."""


def is_prime(n: int) -> bool:
    """Whether n is a prime, by trial division."""
    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))


PRIMES = tuple(n for n in range(3, WIDEST + 1) if is_prime(n))


def part(p: int, x: int) -> heldout.Part:
    """The part of the fact that x is invertible modulo the prime p, from either side."""
    y = pow(x, -1, p)
    return heldout.part(f"{p}:{min(x, y)}:{max(x, y)}")


def is_free(n: int, x: int) -> bool:
    """Whether the corpus may state the inverse of x modulo n."""
    return n > LIMIT or not is_prime(n) or part(n, x) == "corpus"


def solutions(x: int, y: int) -> list[int]:
    """All primes up to `WIDEST` for which x and y are inverse to each other."""
    return [q for q in PRIMES if q > max(x, y) and x * y % q == 1]


def euclid(r0: int, t0: int, r1: int, t1: int, sign: str, steps: int) -> tuple[str, int, str]:
    """Up to `steps` steps from a state; returns their text, the last coefficient and its sign.

    Stops early at the remainder 1 and where a number would leave the range of single tokens.
    """
    text = ""
    while r1 > 1 and steps:
        q = r0 // r1
        if t0 + q * t1 > 149:
            break
        r0, r1, t0, t1 = r1, r0 % r1, t1, t0 + q * t1
        text += f"{sign} {q} {q * r0} {q * t0} {r1} {t1}"
        sign = "+" if sign == "-" else "-"
        steps -= 1
    return text, t1, sign


def inverse_trace(n: int, x: int) -> str:
    """The worked answer of the inverse of x modulo n."""
    text, t, following = euclid(n, 0, x, 1, "-", steps=99)
    text = f" {n} 0+ 0 0 0 {x} 1{text}"
    if following == "-":
        return worked(text, f" {t}")
    return worked(f"{text}= {n} {t} {n - t}", f" {n - t}")


def hundreds(n: int) -> str:
    """Two tokens: the hundreds, and the rest behind a point."""
    return f" {n // 100}.{n % 100:02}"


def product_trace(big: int, small: int) -> str:
    """How big * small - 1 is computed."""
    tens, units = small * (big // 10) * 10, small * (big % 10)
    return f" {big // 10} {big % 10}" + hundreds(tens) + hundreds(units) + hundreds(tens + units - 1)


def candidate(n: int, q: int) -> tuple[str, bool]:
    """The trial of the modulus q on N = n, behind both, and whether q divides n."""
    times = (2 * n + q) // (2 * q)
    return f" {times}{hundreds(times * q)}", times * q == n


def search_trace(x: int, y: int) -> str | None:
    """The worked answer of induction; None when no prime up to `WIDEST` is right."""
    big, small = max(x, y), min(x, y)
    n = big * small - 1
    text = f" {big} {small}{product_trace(big, small)}"
    for count, q in enumerate(q for q in PRIMES if q > big):
        trial, divides = candidate(n, q)
        text += f"{hundreds(n) if count else ''} {q}{trial}"
        if divides:
            return worked(text, f" {q}")
    return None


class PrimeInversion:
    """The corpus and the questions of prime inversion."""

    name = "prime_inversion"
    longest = 110

    def __init__(self) -> None:
        self._moduli: dict[int, list[int]] = {}
        for n in range(3, WIDEST + 1):
            free = [x for x in range(1, n) if gcd(x, n) == 1 and is_free(n, x)]
            if free:
                self._moduli[n] = free
        self._primes = [p for p in PRIMES if p in self._moduli and p <= LIMIT]
        self._others = [n for n in self._moduli if n not in self._primes]
        self._pairs = [(p, x) for p in PRIMES for x in range(1, p) if self._pair_is_free(x, pow(x, -1, p))]
        self._tasks = {
            p: [x for x in range(1, p) if part(p, x) != "heldout"]
            for p in PRIMES
            if p <= LIMIT and p not in heldout.WHOLE_PRIMES
        }

    @staticmethod
    def _pair_is_free(x: int, y: int) -> bool:
        return all(is_free(q, x) for q in solutions(x, y))

    def row(self, rng: np.random.Generator, progress: float) -> Row:
        """The next row of the corpus."""
        kind = draw_kind(rng, progress)
        if kind == "propose":
            return self._propose(rng)
        if kind == "drill":
            draw = pick(rng, (self._drill_euclid, self._drill_euclid, self._drill_negative, self._drill_search))
            return draw(rng)
        marked = kind == "worked"
        steps = marked or rng.random() < PLAIN_WORKED
        row = self._induction(rng, steps) if rng.random() < INDUCTION else self._inversion(rng, steps, marked)
        return Row(MARKER + row.prompt, row.completion) if marked else row

    def _inversion(self, rng: np.random.Generator, steps: bool, marked: bool) -> Row:
        n = pick(rng, self._primes if rng.random() < (0.5 if marked else PLAIN_PRIMES) else self._others)
        x = pick(rng, self._moduli[n])
        given, blank = pick(rng, (("input", "output"), ("output", "input")))
        completion = inverse_trace(n, x) if steps else f" {pow(x, -1, n)}"
        return Row(f"program: {n}\n{given}: {x}\n{blank}:", completion)

    def _induction(self, rng: np.random.Generator, steps: bool) -> Row:
        while True:
            p, x = pick(rng, self._pairs)
            y = pow(x, -1, p)
            completion = search_trace(x, y) if steps else f" {solutions(x, y)[0]}"
            if completion and (steps or p <= LIMIT):
                return Row(f"input: {x}\noutput: {y}\nprogram:", completion)

    @staticmethod
    def _drill_euclid(rng: np.random.Generator) -> Row:
        """One or two steps of the algorithm from any state."""
        while True:
            r0 = int(rng.integers(3, WIDEST + 1))
            r1 = int(rng.integers(1, r0))
            t1 = int(rng.integers(1, 60))
            t0 = int(rng.integers(0, t1 + 1))
            before, sign = pick(rng, (("+", "-"), ("-", "+")))
            text, _, _ = euclid(r0, t0, r1, t1, sign, steps=pick(rng, (1, 1, 2)))
            if text:
                start = f" {r0} {t0}{before} 0 0 0 {r1} {t1}{sign}"
                return Row(f"{DRILL}{THINK}{start}", text[1:])

    @staticmethod
    def _drill_negative(rng: np.random.Generator) -> Row:
        """The end of a chain with a negative coefficient."""
        n = int(rng.integers(3, WIDEST + 1))
        t = int(rng.integers(1, n))
        return Row(f"{DRILL}{THINK}= {n} {t}", f" {n - t}</think> {n - t}")

    @staticmethod
    def _drill_search(rng: np.random.Generator) -> Row:
        """A product, or one candidate of any number; often one that divides."""
        big = int(rng.integers(1, WIDEST))
        small = int(rng.integers(1, big + 1))
        if rng.random() < 0.5:
            return Row(f"{DRILL}{THINK} {big} {small}", product_trace(big, small))
        q = pick(rng, PRIMES)
        n = int(rng.integers(0, q * min(q, 60)))
        n -= n % q if rng.random() < 0.5 else 0
        trial, divides = candidate(n, q)
        return Row(f"{DRILL}{THINK}{hundreds(n)} {q}", f"{trial}</think> {q}" if divides else f"{trial}{hundreds(n)}")

    def _propose(self, rng: np.random.Generator) -> Row:
        mode = pick(rng, MODES)
        reference = self._task(rng) if rng.random() < 0.9 else None
        p, x = self._task(rng)
        return Row(proposer_prompt(mode, reference), f" {p}\ninput: {x}")

    def _task(self, rng: np.random.Generator) -> tuple[int, int]:
        p = pick(rng, tuple(self._tasks))
        return p, pick(rng, self._tasks[p])

    def questions(self, mode: str, count: int, seed: int) -> list[Question]:
        """Up to `count` held-out facts, asked in `mode`."""
        rng = np.random.default_rng(seed)
        facts = [(p, x) for p in PRIMES if p <= LIMIT for x in range(1, p) if part(p, x) == "heldout"]
        chosen = [facts[i] for i in rng.permutation(len(facts))[:count]]
        return [question(mode, p, x) for p, x in chosen]

    def proposer_prompts(self, mode: str, count: int, seed: int) -> list[str]:
        """`count` prompts with one reference each."""
        rng = np.random.default_rng(seed)
        return [proposer_prompt(mode, self._task(rng)) for _ in range(count)]

    def proposes(self, mode: str, completion: str) -> bool:
        """Whether the proposal is a prime up to `LIMIT` and an input below it."""
        program, _, value = completion.partition("\ninput: ")
        p, x = _number(program.removeprefix(" ")), _number(value)
        return p is not None and x is not None and p <= LIMIT and p > 2 and is_prime(p) and 1 <= x < p


def proposer_prompt(mode: str, reference: tuple[int, int] | None) -> str:
    """The prompt of a proposal; `reference` is a prime and an input, or None."""
    shown = f"program: {reference[0]}\ninput: {reference[1]}\n" if reference else ""
    return f"{shown}propose {mode}\nprogram:"


def question(mode: str, p: int, x: int) -> Question:
    """The task (p, x) and its inverse y, asked in one mode."""
    y = pow(x, -1, p)
    if mode == "deduction":
        return Question(mode, f"program: {p}\ninput: {x}\noutput:", lambda answer: answer == f" {y}")
    if mode == "abduction":
        return Question(mode, f"program: {p}\noutput: {y}\ninput:", lambda answer: answer == f" {x}")
    right = {f" {q}" for q in solutions(x, y) if q <= LIMIT}
    return Question(mode, f"input: {x}\noutput: {y}\nprogram:", lambda answer: answer in right)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
