"""Settings of a run: ours here, the trainer's in TRL's own GRPOConfig; both from flags and a YAML recipe."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, get_args

from azr_agents.advantages import ALGORITHMS, VARIANTS, check_algorithm
from azr_agents.monitors import ACTIONS
from azr_agents.selfplay import DUPLICATES
from azr_env.buffer import Conditioning, Eviction
from azr_env.errors import SettingError
from azr_env.rewards import LEARNABILITY
from azr_env.types import Mode

EMBEDDED = "embedded"
"""The ``model`` that stands for the shipped base of the run's domain."""

CONTROLS: Final[Mapping[str, str]] = {
    "random-reward": "the rewards of each cell are dealt out anew at random before they are trained on",
    "frozen-proposer": "the base proposes throughout, and proposals are not trained on",
    "random-tasks": "tasks of the built-in generator take the place of proposals",
    "solver-only": "no proposals: the solver trains on the seed buffer alone",
}
"""What a run is compared with, by name; each differs from the main run in this one thing."""


@dataclass
class RunConfig:
    """What is trained, on what, and how it is measured."""

    domain: str = field(default="python", metadata={"help": "Domain, by name."})
    domain_options: str = field(
        default="", metadata={"help": "Settings of the domain, KEY=VALUE joined by commas (max_prime=61)."}
    )
    model: str = field(
        default=EMBEDDED, metadata={"help": "Path or id of a causal LM, or 'embedded': the shipped base of the domain."}
    )
    lora_r: int = field(default=0, metadata={"help": "Rank of LoRA adapters; 0 to train all weights."})
    lora_alpha: int = field(default=32, metadata={"help": "LoRA's scale; adapters count by lora_alpha / lora_r."})
    lora_target_modules: str = field(
        default="all-linear", metadata={"help": "Layers with adapters: names joined by commas, or all-linear."}
    )
    max_prompt_length: int = field(
        default=0, metadata={"help": "Most tokens of a prompt (paper: 6144); 0 for what the model has room for."}
    )
    style: str = field(default="paper", metadata={"help": "Prompt style: paper or compact."})
    tasks: str = field(default="builtin", metadata={"help": "Task source that the model is measured on."})
    eval_tasks: int = field(default=200, metadata={"help": "Most tasks per mode in each evaluation set; 0 for none."})
    eval_samples: int = field(default=2, metadata={"help": "Sampled answers per task in an evaluation."})
    heldout_every: int = field(
        default=0, metadata={"help": "Rounds between measurements of held-out accuracy during training; 0 for none."}
    )

    def __post_init__(self) -> None:
        _whole(self, eval_tasks=0, eval_samples=1, heldout_every=0, lora_r=0, lora_alpha=1, max_prompt_length=0)
        if self.heldout_every and not self.eval_tasks:
            raise SettingError(
                f"heldout_every={self.heldout_every} measures the held-out tasks, and eval_tasks=0 leaves none"
            )


@dataclass
class SelfPlayConfig:
    """One round of self-play, per mode, and the buffer."""

    modes: str = field(default=",".join(Mode), metadata={"help": "Modes that are trained, joined by commas."})
    proposer_rows: int = field(default=64, metadata={"help": "Proposals per mode and round (paper: 64)."})
    solver_rows: int = field(default=64, metadata={"help": "Trained answers per mode and round (paper: 64)."})
    buffer_share: float = field(
        default=0.5,
        metadata={"help": "Share of the solver's rows bound to buffer tasks; the rest go to new proposals."},
    )
    references: int = field(default=6, metadata={"help": "Reference tasks shown to a proposer (paper: 6); 0 for none."})
    conditioning: str = field(
        default="uniform", metadata={"help": f"How they are drawn: {', '.join(get_args(Conditioning))}."}
    )
    duplicates: str = field(
        default="refuse", metadata={"help": f"What becomes of a proposal that is known: {', '.join(DUPLICATES)}."}
    )
    composite: float = field(
        default=0.0, metadata={"help": "Share of proposals that are to build on programs of the buffer (python only)."}
    )
    learnability: str = field(default="azr", metadata={"help": f"One of {', '.join(LEARNABILITY)}."})
    algorithm: str = field(default="trr++", metadata={"help": f"One of {', '.join(ALGORITHMS)}."})
    advantage: str = field(
        default="sequences", metadata={"help": f"Mean and deviation of trr++ over one of {', '.join(VARIANTS)}."}
    )
    capacity: int = field(default=16_384, metadata={"help": "Most live buffer tasks per mode (paper: 16384)."})
    eviction: str = field(default="fifo", metadata={"help": "fifo or reservoir."})
    seed_tasks: int = field(
        default=256, metadata={"help": "Tasks per mode that the base proposes before training (paper: 256)."}
    )
    on_collapse: str = field(default="warn", metadata={"help": f"After a monitor's warning: {', '.join(ACTIONS)}."})
    control: str = field(default="none", metadata={"help": f"One of {', '.join(('none', *CONTROLS))}."})
    curriculum: int = field(
        default=0,
        metadata={"help": "Rounds in which the ranges of random-tasks grow to their whole width; 0 for none."},
    )

    def __post_init__(self) -> None:
        _whole(self, proposer_rows=0, solver_rows=0, references=0, capacity=1, seed_tasks=0, curriculum=0)
        self.played  # noqa: B018 - refuses unknown modes
        if self.solver_rows < 2:
            raise SettingError(f"solver_rows={self.solver_rows}; a baseline needs at least 2 answers per mode")
        if self.proposer_rows == 1:
            raise SettingError("proposer_rows=1; a baseline needs at least 2 proposals per mode, or 0 for none")
        for name, share in (("buffer_share", self.buffer_share), ("composite", self.composite)):
            if not isinstance(share, int | float) or not 0 <= share <= 1:
                raise SettingError(f"{name}={share!r}; it is a share from 0 to 1")
        check_algorithm(self.algorithm, self.advantage)
        _one_of(self, learnability=LEARNABILITY, eviction=get_args(Eviction))
        _one_of(self, conditioning=get_args(Conditioning), duplicates=DUPLICATES)
        if self.conditioning == "recency" and self.eviction != "fifo":
            raise SettingError(f"conditioning=recency needs eviction=fifo: in a {self.eviction} the ages are mixed")
        _one_of(self, control=("none", *CONTROLS), on_collapse=ACTIONS)
        if self.composite and self.played == (Mode.INDUCTION,):
            raise SettingError(f"composite={self.composite:g} is of deduction and abduction: add one to modes")
        if self.curriculum and self.control != "random-tasks":
            raise SettingError(f"curriculum={self.curriculum} is for control=random-tasks: leave it out, or set both")

    @property
    def played(self) -> tuple[Mode, ...]:
        """The modes that are trained, in their usual order."""
        names = [name.strip() for name in self.modes.split(",")]
        if not set(names) <= set(Mode) or len(set(names)) < len(names):
            raise SettingError(f"modes={self.modes!r}; join some of {', '.join(Mode)} by commas, each once")
        return tuple(mode for mode in Mode if mode in names)

    @property
    def proposals(self) -> int:
        """Proposals per mode and round: none in the controls that take their tasks from elsewhere."""
        return 0 if self.control in ("random-tasks", "solver-only") else self.proposer_rows


def _whole(settings: object, **least: int) -> None:
    for name, low in least.items():
        value = getattr(settings, name)
        if not isinstance(value, int) or value < low:
            raise SettingError(f"{name}={value!r}; it is a whole number from {low} up")


def _one_of(settings: object, **known: Collection[str]) -> None:
    for name, names in known.items():
        value = getattr(settings, name)
        if value not in names:
            raise SettingError(f"{name}={value!r} is unknown; choose one of {', '.join(names)}")


def round_rows(play: SelfPlayConfig) -> int:
    """Rows of one round: proposals and answers of each mode."""
    return len(play.played) * (play.proposals + play.solver_rows)


def recipe(domain: str, model: str) -> Path:
    """The recipe that a run begins from when none is given.

    Raises:
        SettingError: an embedded model was asked for, and the domain has none.
    """
    name, have = f"embedded-{domain}" if model == EMBEDDED else "default", recipes()
    if name in have:
        return have[name]
    raise SettingError(
        f"there is no embedded model for the domain {domain!r}: pass --model PATH_OR_ID. "
        f"Recipes: {', '.join(have) or 'none'}"
    )


def recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    found = {path.stem: path for folder in reversed(recipe_folders()) for path in folder.glob("*.yaml")}
    return dict(sorted(found.items()))


def recipe_folders() -> list[Path]:
    """Where recipes lie: in the installed package, or beside it in a source checkout."""
    here = Path(__file__).parent
    return [folder for folder in (here / "recipes", here.parent / "recipes") if folder.is_dir()]


def options(text: str) -> dict[str, int | float | str]:
    """``KEY=VALUE`` pairs joined by commas; whole and decimal numbers become numbers.

    Raises:
        SettingError: a part that is no pair.
    """
    found: dict[str, int | float | str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise SettingError(f"domain_options: {part!r} is not KEY=VALUE, as in max_prime=61,equality=strict")
        found[key] = _number(value)
    return found


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
