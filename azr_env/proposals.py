"""How a proposer's completion becomes a task (floor 5): parse -> Draft -> admitted Task | Rejection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from azr_env.errors import AzrError
from azr_env.parsing import Malformed, Style, parse_proposal
from azr_env.protocols import Domain
from azr_env.types import Draft, Mode, Rejection, Task


@dataclass(frozen=True, slots=True)
class Proposal:
    """What became of one proposer completion: exactly one of ``task`` and ``rejection`` is set."""

    mode: Mode
    task: Task | None
    rejection: Rejection | None


@dataclass(frozen=True, slots=True)
class Proposed:
    """One proposer completion, with the program it was given, if it was."""

    mode: Mode
    completion: str
    program: str | None = None


def admit(domain: Domain, proposed: Sequence[Proposed], style: Style = Style.PAPER) -> list[Proposal]:
    """Parses and checks proposals, in order; one call of the domain for all of them.

    Nothing here raises for what a model writes: an unreadable completion is a rejection with the reason
    ``malformed``, and a failure of our own machinery one with the reason ``error``.

    Raises:
        AzrError: the domain gave another number of results than it was given drafts.
    """
    drafts = [parse_proposal(p.completion, style, p.mode, domain.fences, p.program) for p in proposed]
    readable = [draft for draft in drafts if isinstance(draft, Draft)]
    given = domain.admit(readable) if readable else []
    if len(given) != len(readable):
        raise AzrError(f"domain {domain.name!r} gave {len(given)} results for {len(readable)} drafts: one each is due")
    results = iter(given)
    proposals = []
    for item, draft in zip(proposed, drafts, strict=True):
        result = Rejection("malformed", draft.reason) if isinstance(draft, Malformed) else next(results)
        if isinstance(result, Rejection):
            proposals.append(Proposal(item.mode, None, result))
        else:
            proposals.append(Proposal(item.mode, result, None))
    return proposals
