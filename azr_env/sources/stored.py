"""Finite sources: ``buffer:PATH``, ``jsonl:PATH`` and ``cruxeval:PATH``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from azr_env.buffer import TaskBuffer
from azr_env.errors import SettingError, TaskFileError, UnknownNameError
from azr_env.protocols import Domain
from azr_env.types import Example, Mode, Task


class BufferSource:
    """The live tasks of a buffer file, read only.

    Raises:
        TaskFileError: no such file.
        BufferSchemaError: the file is no buffer, or of another schema version.
    """

    def __init__(self, argument: str, domain: Domain) -> None:
        path = _existing(argument, "buffer")
        self._buffer = TaskBuffer(path, read_only=True)

    def draw(self, mode: Mode, rng: np.random.Generator, n: int) -> list[Task]:
        """Uniform over the live tasks of the mode."""
        return self._buffer.sample(mode, rng, n)

    def get(self, task_id: str) -> Task:
        """The task of that id, evicted or not."""
        return self._buffer.get(task_id)


class ListSource:
    """Tasks in memory, drawn uniformly.

    Args:
        tasks: any number of tasks of any modes, with distinct ids.
        name: how errors call the source.
    """

    def __init__(self, tasks: list[Task], name: str = "list") -> None:
        self._name = name
        self._by_mode: dict[Mode, list[Task]] = {}
        self._by_id: dict[str, Task] = {}
        for task in tasks:
            if task.id in self._by_id:
                raise TaskFileError(f"{name}: two tasks have the id {task.id!r}")
            self._by_id[task.id] = task
            self._by_mode.setdefault(task.mode, []).append(task)

    def draw(self, mode: Mode, rng: np.random.Generator, n: int) -> list[Task]:
        """Uniform over the tasks of the mode."""
        tasks = self._by_mode.get(mode, [])
        if not tasks:
            raise SettingError(f"{self._name} has no {mode} task; it has {', '.join(sorted(self._by_mode)) or 'none'}")
        return [tasks[int(k)] for k in rng.integers(len(tasks), size=n)]

    def get(self, task_id: str) -> Task:
        """The task of that id."""
        if task_id not in self._by_id:
            raise UnknownNameError(f"{self._name} has no task {task_id!r}")
        return self._by_id[task_id]

    def tasks(self, mode: Mode) -> list[Task]:
        """All tasks of the mode, in the order given."""
        return list(self._by_mode.get(mode, []))


def jsonl(argument: str, domain: Domain) -> ListSource:
    """Tasks from a file with one JSON object a line.

    Keys: ``mode``, ``program``, ``examples`` (list of [input, output] texts), and optionally ``id``, ``shown``,
    ``message``. The keys are trusted: nothing is run.

    Raises:
        TaskFileError: the file is absent or malformed; names file, line and reason.
    """
    return ListSource(list(_read(argument, "jsonl", lambda row, n: [_row_task(row, n, domain)])), f"jsonl:{argument}")


def cruxeval(argument: str, domain: Domain) -> ListSource:
    """CRUXEval's published file: ``code``, ``input``, ``output`` and ``id`` a line (arXiv 2401.03065).

    Each program gives a deduction, an abduction and an induction task; the last shows and hides the one pair
    that there is. The keys are trusted: nothing is run.

    Raises:
        TaskFileError: the file is absent or malformed; names file, line and reason.
    """

    def tasks(row: dict[str, Any], number: int) -> list[Task]:
        example = (Example(row["input"], row["output"]),)
        return [
            Task(f"{mode}-{row['id']}", domain.name, mode, row["code"], example, 1 if mode is Mode.INDUCTION else 0)
            for mode in Mode
        ]

    if domain.name != "python":
        raise SettingError(f"cruxeval holds Python tasks, not {domain.name}: use domain='python'")
    return ListSource(list(_read(argument, "cruxeval", tasks)), f"cruxeval:{argument}")


def write_jsonl(path: str | Path, tasks: list[Task]) -> None:
    """Writes tasks as :func:`jsonl` reads them."""
    with open(path, "w", encoding="utf-8") as file:
        for task in tasks:
            row = {
                "id": task.id,
                "mode": task.mode,
                "program": task.program,
                "examples": [[e.input, e.output] for e in task.examples],
                "shown": task.shown,
                "message": task.message,
            }
            file.write(json.dumps(row) + "\n")


def _row_task(row: dict[str, Any], number: int, domain: Domain) -> Task:
    mode = Mode(row["mode"])
    examples = tuple(Example(str(i), str(o)) for i, o in row["examples"])
    if not examples:
        raise ValueError("examples is empty")
    if mode is not Mode.INDUCTION and len(examples) != 1:
        raise ValueError(f"a {mode} task has exactly one example, not {len(examples)}")
    shown = int(row.get("shown", (len(examples) + 1) // 2 if mode is Mode.INDUCTION else 0))
    if not 0 <= shown <= len(examples) or (mode is Mode.INDUCTION and shown == 0):
        raise ValueError(f"shown={shown} does not fit {len(examples)} examples")
    task_id = str(row.get("id", f"{mode}-line-{number}"))
    return Task(task_id, domain.name, mode, str(row["program"]), examples, shown, str(row.get("message", "")))


def _read(argument: str, name: str, make: Callable[[dict[str, Any], int], list[Task]]) -> Iterator[Task]:
    path = _existing(argument, name)
    with open(path, encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield from _parse(line, path, number, make)
        except UnicodeDecodeError as exc:
            raise TaskFileError(f"{path}: not UTF-8 text ({exc.reason} at byte {exc.start})") from None


def _parse(line: str, path: Path, number: int, make: Callable[[dict[str, Any], int], list[Task]]) -> list[Task]:
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("not a JSON object")
        return make(row, number)
    except KeyError as exc:
        raise TaskFileError(f"{path}, line {number}: no key {exc}") from None
    except (ValueError, TypeError) as exc:
        raise TaskFileError(f"{path}, line {number}: {exc}") from None


def _existing(argument: str, name: str) -> Path:
    path = Path(argument)
    if not argument or not path.is_file():
        raise TaskFileError(f"{name}:{argument}: no such file ({path.absolute() if argument else 'give a path'})")
    return path
