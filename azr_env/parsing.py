"""Completion to answer or proposal, in both prompt styles (floor 2).

Total and linear in the length of the text: any string gives a result, and a failure is a reason, never
an exception.

``paper``: ``<think>..</think><answer>..</answer>`` with fenced blocks inside the answer. ``compact``: an optional
``<think>..</think>``, then the bare answer; a proposal is lines of ``label: text``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from azr_env.types import BLANK, Draft, Mode, Slot

MESSAGE = "message"
"""Label of the hint that goes with an induction task."""


class Style(StrEnum):
    """How prompts are worded and completions are framed."""

    PAPER = "paper"
    COMPACT = "compact"


@dataclass(frozen=True, slots=True)
class Malformed:
    """A completion without a readable answer, and why."""

    reason: str


def parse_answer(completion: str, style: Style, mode: Mode, fences: Mapping[Slot, str]) -> str | Malformed:
    """The text that fills the blank slot of ``mode``.

    Of several fenced blocks of the asked kind, the last one counts.
    """
    body = _body(completion, style)
    if isinstance(body, Malformed):
        return body
    if style == Style.COMPACT:
        return body or Malformed("empty answer")
    label = fences[BLANK[mode]]
    blocks = _blocks(body).get(label.lower())
    if not blocks:
        return Malformed(f"no ```{label} block in the answer")
    return blocks[-1]


def parse_proposal(
    completion: str, style: Style, mode: Mode, fences: Mapping[Slot, str], program: str | None = None
) -> Draft | Malformed:
    """The draft that a proposer wrote.

    Args:
        program: the program that was given to the proposer, when only inputs were asked for.
    """
    body = _body(completion, style)
    if isinstance(body, Malformed):
        return body
    if style == Style.COMPACT:
        first = Slot.PROGRAM if program is None else Slot.INPUT
        blocks = _labelled(f"{first}: {body}")
        names: Mapping[Slot, str] = {slot: str(slot) for slot in Slot}
    else:
        blocks = _blocks(body)
        names = fences
    inputs = tuple(blocks.get(names[Slot.INPUT].lower(), ()))
    message = blocks.get(MESSAGE, [""])[-1]
    if program is None:
        programs = blocks.get(names[Slot.PROGRAM].lower())
        if not programs:
            return Malformed(f"no {names[Slot.PROGRAM]} block in the proposal")
        program = programs[-1]
    if not inputs:
        return Malformed(f"no {names[Slot.INPUT]} block in the proposal")
    if mode is not Mode.INDUCTION and len(inputs) != 1:
        return Malformed(f"{len(inputs)} input blocks, exactly one is asked for")
    return Draft(mode, program, inputs, message)


def _body(completion: str, style: Style) -> str | Malformed:
    """What stands behind the thinking (and, in paper style, inside the answer frame).

    Thinking ends at the first ``</think>``, so that an answer may hold that text.
    """
    head, closed, rest = completion.partition("</think>")
    if style == Style.COMPACT:
        if not closed and "<think>" in head:
            return Malformed("<think> is never closed")
        return rest.strip() if closed else head.strip()
    if not closed:
        return Malformed("no <think>..</think> before the answer")
    _, opened, rest = rest.partition("<answer>")
    if not opened:
        return Malformed("no <answer> after </think>")
    inside, ended, _ = rest.rpartition("</answer>")
    if not ended:
        return Malformed("<answer> is never closed")
    return inside


def _blocks(text: str) -> dict[str, list[str]]:
    """Fenced blocks by lower-case info string, each list in the order of the text.

    A block ends at the first line that ends with as many backticks as opened it, or more. A line that begins with
    backticks and holds further ones opens nothing.
    """
    found: dict[str, list[str]] = {}
    label, fence = "", ""
    lines: list[str] = []
    for line in text.split("\n"):
        bare = line.strip()
        if not fence:
            bare = bare.rpartition("<answer>")[2].strip()  # text before the frame may name the tags
            info = bare.lstrip("`")
            if len(bare) - len(info) >= 3 and info and "`" not in info:
                label, fence, lines = info.strip().lower(), bare[: len(bare) - len(info)], []
        elif bare.endswith(fence):
            last = line.rstrip()[: -len(fence)]
            if last.strip().strip("`"):
                lines.append(last)
            found.setdefault(label, []).append("\n".join(lines).strip("\n"))
            fence = ""
        else:
            lines.append(line)
    return found


def _labelled(text: str) -> dict[str, list[str]]:
    """Texts behind ``program:``, ``input:``, ``message:`` at the start of a line, by label."""
    found: dict[str, list[list[str]]] = {}
    current: list[str] = []
    for line in text.split("\n"):
        label, colon, rest = line.partition(":")
        if colon and label in (Slot.PROGRAM, Slot.INPUT, Slot.OUTPUT, MESSAGE):
            current = [rest.strip(" ")]
            found.setdefault(str(label), []).append(current)
        else:
            current.append(line)
    return {label: ["\n".join(lines).strip("\n") for lines in texts] for label, texts in found.items()}
