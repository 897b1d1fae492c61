"""``azr rescore``: grades the stored answers of a run again, and says where the verdicts differ."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from azr_agents.config import RunConfig, options
from azr_agents.run import Run
from azr_agents.terminal import visible
from azr_env import registry
from azr_env.buffer import TaskBuffer
from azr_env.envs.game import member
from azr_env.errors import SettingError, UnknownNameError
from azr_env.grading import grade
from azr_env.parsing import Style
from azr_env.protocols import Domain, Verifier
from azr_env.types import Role, Status, Task

BATCH: Final = 512
"""Answers that are graded together, and the most that are held in memory."""
SHOWN: Final = 5
"""Answers with another verdict than before that are told one by one."""
_CORNER = "stored, new"
_NEEDED = ("role", "task_id", "completion", "status")


@dataclass
class Rescored:
    """What grading again has found.

    Attributes:
        counts: answers by stored and new status.
        not_found: answers whose task the buffer does not have.
        torn: whether the last line was half-written, and left out.
        changed: the first :data:`SHOWN` answers with another status than before.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    not_found: int = 0
    torn: bool = False
    changed: list[dict[str, Any]] = field(default_factory=list)

    @property
    def graded(self) -> int:
        """Answers that were graded again."""
        return self.counts.total()

    @property
    def same(self) -> int:
        """Those of them whose status is what it was."""
        return sum(count for (old, new), count in self.counts.items() if old == new)


def run(args: Sequence[str]) -> int:
    """Grades again as the arguments say. Returns the exit code.

    Raises:
        AzrError: no run, no such plug-in, or records that cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog="azr rescore",
        description="Grades the answers in a run's rollouts.jsonl again and counts old verdicts against new ones.",
        epilog="Exit code: 0 however many verdicts differ, 2 for no such run, verifier or executor.",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("--verifier", default="relation", metavar="NAME", help="default: relation, as in training")
    parser.add_argument("--executor", metavar="NAME", help="default: as in training")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N answers")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the table")
    asked = parser.parse_args(args)
    if asked.limit is not None and asked.limit < 1:
        raise SettingError(f"--limit {asked.limit}; it is a whole number from 1 up")
    found, _ = Run.open(asked.run)
    settings = found.settings()
    given: dict[str, Any] = options(str(settings.get("domain_options", "")))
    trained = given.pop("executor", "zygote")
    asked.executor = asked.executor or trained
    domain = registry.domain(str(settings.get("domain", RunConfig.domain)), asked.executor, **given)
    verifier = registry.verifier(asked.verifier, domain)
    style: Style = member(Style, settings.get("style", RunConfig.style), "style")
    result = rescore(found, domain, verifier, style, asked.limit)
    if asked.json:
        sys.stdout.write(json.dumps(_data(result, asked), indent=2) + "\n")
    else:
        sys.stdout.write(visible(_table(result, asked)))
    return 0


def rescore(run: Run, domain: Domain, verifier: Verifier, style: Style, limit: int | None = None) -> Rescored:
    """Grades the solver's answers of a run again, a batch at a time.

    Args:
        limit: most answers; ``None`` for all.

    Raises:
        SettingError: ``rollouts.jsonl`` is absent, or a line of it is no rollout.
        BufferSchemaError: ``buffer.sqlite`` is absent, or no buffer.
    """
    result = Rescored()
    buffer = TaskBuffer(run.path / "buffer.sqlite", read_only=True)
    try:
        rows = islice(_answers(run.path / "rollouts.jsonl", result), limit)
        while batch := list(islice(rows, BATCH)):
            _grade(batch, buffer, domain, verifier, style, result)
    finally:
        buffer.close()
    return result


def _answers(path: Path, result: Rescored) -> Iterator[dict[str, Any]]:
    """The solver's rows, one at a time."""
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except OSError as exc:
        raise SettingError(f"{path} cannot be read: {exc.strerror}. Give a run that has begun to train.") from None
    with file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
                if not line.endswith(b"\n"):  # of a run under way, or one that was killed
                    result.torn = True
                    return
            if isinstance(row, dict) and row.get("role") == Role.PROPOSER:
                continue
            if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in _NEEDED):
                raise SettingError(f"{path}, line {number} is no rollout: its {', '.join(_NEEDED)} are to be texts")
            yield row


def _grade(
    batch: list[dict[str, Any]],
    buffer: TaskBuffer,
    domain: Domain,
    verifier: Verifier,
    style: Style,
    result: Rescored,
) -> None:
    tasks = {task_id: _task(buffer, task_id, domain) for task_id in {row["task_id"] for row in batch}}
    pairs = [(row, task) for row in batch if (task := tasks[row["task_id"]]) is not None]
    result.not_found += len(batch) - len(pairs)
    grades = grade(domain, verifier, [(task, row["completion"]) for row, task in pairs], style)
    for (row, _), found in zip(pairs, grades, strict=True):
        old, new = str(row["status"]), str(found.verdict.status)
        result.counts[old, new] += 1
        if old != new and len(result.changed) < SHOWN:
            place = {key: row.get(key) for key in ("step", "row", "task_id")}
            result.changed.append({**place, "old": old, "new": new, "reason": found.verdict.reason})


def _task(buffer: TaskBuffer, task_id: str, domain: Domain) -> Task | None:
    try:
        task = buffer.get(task_id)
    except UnknownNameError:
        return None
    if task.domain != domain.name:
        raise SettingError(f"buffer {buffer.path} holds {task.domain} tasks, and the run's domain is {domain.name}")
    return task


def _data(result: Rescored, asked: argparse.Namespace) -> dict[str, Any]:
    table: dict[str, dict[str, int]] = {}
    for (old, new), count in sorted(result.counts.items()):
        table.setdefault(old, {})[new] = count
    return {
        "run": asked.run,
        "verifier": asked.verifier,
        "executor": asked.executor,
        "graded": result.graded,
        "same": result.same,
        "not_found": result.not_found,
        "torn": result.torn,
        "table": table,
        "changed": result.changed,
    }


def _table(result: Rescored, asked: argparse.Namespace) -> str:
    """Rows are stored statuses, columns new ones, and whatever is not as it was stands outside of the diagonal."""
    seen = {status for pair in result.counts for status in pair}
    names = [str(status) for status in Status if status in seen] + sorted(seen - set(Status))
    width = max(map(len, [_CORNER, *names])) + 2
    lines = [f"{asked.run}: graded again by verifier {asked.verifier} on executor {asked.executor}", ""]
    lines.append(f"{_CORNER:<{width}}" + "".join(f"{name:>{width}}" for name in names))
    for old in names:
        lines.append(f"{old:<{width}}" + "".join(f"{result.counts[old, new] or '.':>{width}}" for new in names))
    share = f" ({100 * result.same / result.graded:.2f} %)" if result.graded else ""
    lines += ["", f"{result.graded} answers graded, {result.same} with the same verdict{share}"]
    if result.not_found:
        lines.append(f"{result.not_found} answers left out: the buffer does not have their task")
    if result.torn:
        lines.append("the last line is half-written, and was left out")
    for row in result.changed:
        where = f"step {row['step']}, row {row['row']}, task {row['task_id']}"
        lines.append(f"  {where}: {row['old']} -> {row['new']} {row['reason']!a}")
    changed = result.graded - result.same
    if changed > len(result.changed):
        lines.append(f"  and {changed - len(result.changed)} more")
    return "\n".join(lines) + "\n"
