"""The tokenizer of the tiny bases: one token per number, operation and label.

A tiny model cannot learn to carry digits and to reason at the same time, so a small
integer is one token, and so is an operator with its constant (`+4`, `//2`). Everything else
falls back to single printable ASCII characters, so any ASCII text encodes and decodes to itself.
"""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
THINK, END_THINK = "<think>", "</think>"
SMALLEST, LARGEST = -99, 149
"""The integers that are one token, together with the space before them."""

_LABELS = ["program:", "input:", "output:", "propose", " deduction", " abduction", " induction", "worked", "drill"]
_PYTHON = [" def f(x): return ", "max(", "min("]
_PATTERN = "|".join(
    [
        "<think>|</think>",
        *_LABELS,
        r" def f\(x\): return |max\(|min\(",
        r",(?:\d|1[0-2])\)",  # the end of max(x,3)
        r"\)?//(?:\d|1[0-2])(?!\d)",  # with the bracket, so that the operations of a chain are adjacent tokens
        r"\)?\*(?:-[1-9]|\d)(?!\d)",
        r"\)?%(?:\d|1\d)(?!\d)",
        r"[+-](?:\d|[1-9]\d)(?!\d)",
        r"\.\d\d(?!\d)",  # the last two digits of a number in hundreds: 13.52 is 1352
        r" (?:0|-?[1-9]\d?|1[0-4]\d)(?!\d)",
        r"[\s\S]",
    ]
)


def vocabulary() -> dict[str, int]:
    """Every token and its id; ids follow the order of the list."""
    words = [PAD, EOS, UNKNOWN, THINK, END_THINK, *_LABELS, *_PYTHON]
    words += [f",{c})" for c in range(13)]
    products = [*(f"//{c}" for c in range(13)), *(f"*{c}" for c in range(-9, 10)), *(f"%{c}" for c in range(20))]
    words += products + [f"){product}" for product in products]
    words += [f"{sign}{c}" for sign in "+-" for c in range(100)]
    words += [f".{c:02}" for c in range(100)]
    words += [f" {n}" for n in range(SMALLEST, LARGEST + 1)]
    words += [chr(c) for c in range(32, 127)] + ["\n"]
    return {word: index for index, word in enumerate(words)}


def build() -> PreTrainedTokenizerFast:
    """A new tokenizer. It pads on the left and returns `input_ids` and `attention_mask` only."""
    backend = Tokenizer(models.WordLevel(vocabulary(), unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(_PATTERN), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
