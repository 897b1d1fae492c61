"""Wording of the paper-style prompts."""

INSTRUCTIONS = {
    "deduction": (
        "Below are a prime p and a number x with 1 <= x < p. Find the inverse of x modulo p: "
        "the number y with 1 <= y < p and x*y = 1 (mod p)."
    ),
    "abduction": (
        "Below are a prime p and a number y with 1 <= y < p. Find the number x with 1 <= x < p "
        "whose inverse modulo p is y: x*y = 1 (mod p)."
    ),
    "induction": (
        "Below are two numbers, an input x and an output y. Find a prime p, larger than both and at most {max_prime}, "
        "with x*y = 1 (mod p). Any such prime is right."
    ),
    "propose": (
        "Make a new exercise on inverses modulo a prime: choose a prime p with p <= {max_prime} and a number x with "
        "1 <= x < p. A solver will be asked to {ask}. A good exercise is valid, differs from the references, and "
        "is hard enough that the solver sometimes fails, but not always. Answer with two fenced "
        "blocks, a ```prime block with p and "
        "an ```input block with x, each a plain decimal number. Plan first, then choose."
    ),
}

ASKS = {
    "deduction": "find y from p and x",
    "abduction": "find x from p and its inverse y",
    "induction": "find p from x and its inverse y",
}
