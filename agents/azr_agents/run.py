"""The run directory: what a run leaves behind, written as it goes.

::

    run.json          schema, versions, the command line, the number of processes
    recipe.yaml       the recipe as it was
    metrics.jsonl     one line per round
    rollouts.jsonl    one line per rollout
    monitors.jsonl    one line per round: what the monitors saw and said
    buffer.sqlite     every task ever admitted; buffer-1.sqlite, ... of the further processes
    evaluation.json   accuracies before and after
    checkpoint-N/     weights, optimiser, random state; loads with from_pretrained
    model/            the final weights and tokenizer
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from azr_env.errors import SettingError

SCHEMA_VERSION = 1


class Run:
    """A run directory.

    Args:
        path: the directory.
        writes: whether anything is written or deleted; only the first process of several
            writes.
    """

    def __init__(self, path: str | Path, writes: bool = True) -> None:
        self.path = Path(path)
        self._writes = writes

    @classmethod
    def begin(cls, path: str | Path, argv: Sequence[str], recipe: Path, processes: int = 1) -> Run:
        """A new run directory.

        Raises:
            SettingError: the directory holds something already.
        """
        run = cls(path)
        if run.path.exists() and (not run.path.is_dir() or any(run.path.iterdir())):
            resume = f", or go on with: azr train --resume {run.path}" if (run.path / "run.json").is_file() else ""
            raise SettingError(f"output_dir={run.path} is not empty: give another --output_dir{resume}")
        try:
            run.path.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(recipe, run.path / "recipe.yaml")
            head = {"schema": SCHEMA_VERSION, "argv": list(argv), "versions": versions(), "processes": processes}
            run.write("run.json", head)
        except OSError as exc:
            raise SettingError(
                f"output_dir={run.path} cannot be made: {exc.strerror}. Give another --output_dir."
            ) from None
        return run

    @classmethod
    def open(cls, path: str | Path) -> tuple[Run, list[str]]:
        """An existing run directory, and the command line that began it.

        Raises:
            SettingError: no run there, or one of another schema.
        """
        run = cls(path)
        try:
            head = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
            schema = head["schema"]
            if schema == SCHEMA_VERSION:
                return run, [str(arg) for arg in head["argv"]]
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as exc:
            raise SettingError(f"{run.path} is no run directory: run.json: {type(exc).__name__}: {exc}") from None
        raise SettingError(
            f"{run.path} was written by run schema {schema!r}, this version reads {SCHEMA_VERSION}: use the azr-env "
            "that wrote it, or begin a new run"
        )

    def settings(self) -> dict[str, Any]:
        """The settings of the run: the flags of its command line, as texts, over its recipe.

        Raises:
            SettingError: no run there, or its recipe is absent or no recipe.
        """
        import yaml

        _, argv = Run.open(self.path)
        path = self.path / "recipe.yaml"
        try:
            recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as exc:
            raise SettingError(f"{path} cannot be read: {type(exc).__name__}. Give a whole run directory.") from None
        if not isinstance(recipe, dict):
            raise SettingError(f"{path}: a recipe is a mapping of settings to values")
        flags: dict[str, Any] = {}
        for place, arg in enumerate(argv):
            if arg.startswith("--"):
                name, equals, value = arg[2:].partition("=")
                following = argv[place + 1 : place + 2] or ["--"]
                bare = not equals and following[0].startswith("--")
                flags[name.replace("-", "_")] = True if bare else value if equals else following[0]
        return recipe | flags

    def whole_checkpoints(self) -> list[Path]:
        """The checkpoints that were written to their end."""
        return [path for path in self.path.glob("checkpoint-*") if (path / "selfplay.json").is_file()]

    def last_checkpoint(self) -> Path:
        """The newest whole checkpoint.

        Raises:
            SettingError: there is none.
        """
        found = self.whole_checkpoints()
        if not found:
            raise SettingError(f"{self.path} has no whole checkpoint to resume from: begin a new run")
        return max(found, key=step_of)

    def drop_torn_checkpoints(self) -> None:
        """Deletes checkpoints that were never whole: ``save_total_limit`` would spare them for whole ones."""
        whole = self.whole_checkpoints()
        for path in self.path.glob("checkpoint-*") if self._writes else ():
            if path not in whole:
                shutil.rmtree(path, ignore_errors=True)

    def write(self, name: str, data: Any) -> None:
        """Writes a JSON file whole or not at all."""
        if not self._writes:
            return
        path = self.path / name
        part = path.with_suffix(".part")
        part.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        part.replace(path)

    def read(self, name: str) -> Any:
        """The content of a JSON file, or ``None`` where there is none."""
        path = self.path / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def append(self, name: str, records: Iterable[dict[str, Any]]) -> None:
        """Appends JSON lines in one write."""
        if not self._writes:
            return
        text = "".join(json.dumps(record) + "\n" for record in records)
        with open(self.path / name, "a", encoding="utf-8") as file:
            file.write(text)

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """The records of a file of JSON lines; none where there is no file."""
        path = self.path / name
        if path.is_file():
            with open(path, encoding="utf-8") as file:
                for line in file:
                    yield json.loads(line)

    def cut(self, name: str, keep: int) -> None:
        """Drops the lines from the first whose ``step`` is ``keep`` or more, or that is torn. It needs no room."""
        path = self.path / name
        if not self._writes or not path.is_file():
            return
        whole = 0
        with open(path, "rb+") as file:
            for line in file:
                try:
                    record = json.loads(line)
                except ValueError:
                    break
                if record["step"] >= keep or not line.endswith(b"\n"):
                    break
                whole += len(line)
            file.truncate(whole)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in ("azr-env", "gymnasium", "numpy", "torch", "transformers", "trl", "accelerate"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def step_of(checkpoint: Path) -> int:
    """The optimiser step that a checkpoint was written after."""
    return int(checkpoint.name.rpartition("-")[2])
