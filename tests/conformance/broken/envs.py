"""Environments with one planted defect each, and the check of the kit that must fail it.

``caught_by`` names the check, ``says`` is a piece of the message by which it must fail. Pytest does not collect this
file by itself; `test_envs.py` runs it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Text
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from azr_env.envs.spaces import AnyText
from azr_env.protocols import Verifier
from azr_env.testing import EnvConformance
from azr_env.types import Example, Mode, Status, Task


class Sound(gym.Env[str, str]):
    """Add two numbers. A sound environment that shares nothing with ours but a space, for a defect to be planted in."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 1}
    reward_range = (-1.0, 1.0)

    def __init__(self, render_mode: str | None = None, verifier: Verifier | None = None, most: Any = 99) -> None:
        self.render_mode = render_mode
        self.verifier = verifier
        self.most = most
        self.observation_space = self.action_space = AnyText(1 << 21)
        self.numbers: tuple[int, int] | None = None
        self.prompt = ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return self.begin(self.np_random)

    def begin(self, rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
        a, b = (int(n) for n in rng.integers(100, 100 + self.most, size=2))
        self.numbers = a, b
        self.prompt = f"{a} + {b} = "
        return self.prompt, {"sum": a + b}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self.numbers is None:
            raise gym.error.ResetNeeded("call reset() first")
        key = str(sum(self.numbers))
        self.numbers = None
        if self.verifier is not None:
            task = Task("sum", "sums", Mode.DEDUCTION, "sum", (Example("", key),))
            if self.verifier.verify([(task, action)])[0].status is Status.ERROR:
                return self.failed()
        return "", self.reward(action, key), True, False, {"read": len(action)}

    def failed(self) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "", 0.0, False, True, {}

    def reward(self, action: str, key: str) -> float:
        return 1.0 if action == key else -1.0

    def render(self) -> Any:
        return self.prompt


class OnSums(EnvConformance):
    """The kit on `Planted-<name>-v0`."""

    def right_action(self, env: gym.Env[Any, Any], info: Mapping[str, Any]) -> str | None:
        return str(info["sum"]) if "sum" in info else None


def planted(entry: type[gym.Env[Any, Any]], vector: Callable[..., Any] | None = None, **kwargs: Any) -> str:
    """Registers an environment and gives its id."""
    name = f"Planted-{(vector or entry).__name__}-v0"  # type: ignore[union-attr]
    vectors = None if vector is None else f"{__name__}:{vector.__name__}"
    gym.register(name, entry_point=f"{__name__}:{entry.__name__}", vector_entry_point=vectors, kwargs=kwargs)
    return name


class IgnoresTheSeed(Sound):
    """Draws from the machine's entropy."""

    def begin(self, rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
        return super().begin(np.random.default_rng())


class TestIgnoresTheSeed(OnSums):
    caught_by = "test_a_seed_is_honoured"
    says = "seed 7 gave other episodes"
    env_id = planted(IgnoresTheSeed)


class OneSeedForEver(Sound):
    """Knows one stream, whatever the seed."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        return super().reset(seed=None if seed is None else 1)


class TestOneSeedForEver(OnSums):
    caught_by = "test_a_seed_is_honoured"
    says = "all began with the observations"
    env_id = planted(OneSeedForEver)


class BeginsAgainAndAgain(Sound):
    """Goes back to the seed at every reset."""

    last = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self.last = self.last if seed is None else seed
        return super().reset(seed=self.last)


class TestBeginsAgainAndAgain(OnSums):
    caught_by = "test_a_seed_is_honoured"
    says = "gave the first episode again"
    env_id = planted(BeginsAgainAndAgain)


class SeedsTheGlobalState(Sound):
    """Hands the seed to `random`."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        random.seed(seed)
        return super().reset(seed=random.randrange(1 << 30))


class TestSeedsTheGlobalState(OnSums):
    caught_by = "test_the_global_random_state_does_not_matter"
    says = "changed the global state of `random`"
    env_id = planted(SeedsTheGlobalState)


class ReadsTheGlobalState(Sound):
    """Mixes the global state into the seed."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        return super().reset(seed=None if seed is None else seed + random.getstate()[1][1] % 1000)


class TestReadsTheGlobalState(OnSums):
    caught_by = "test_the_global_random_state_does_not_matter"
    says = "with other global random states"
    env_id = planted(ReadsTheGlobalState)


class DependsOnHashes(Sound):
    """Shows what it draws in the order of a set."""

    def begin(self, rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
        prompt, info = super().begin(rng)
        self.prompt = " ".join({*prompt.split(), "and", "the", "sum", "is", "what"})
        return self.prompt, info


class TestDependsOnHashes(OnSums):
    caught_by = "test_other_processes_agree"
    says = "under PYTHONHASHSEED="
    env_id = planted(DependsOnHashes)


class SharedByInstances(Sound):
    """Keeps its generator in the class."""

    shared: ClassVar[list[np.random.Generator]] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        if seed is not None:
            self.shared[:] = [np.random.default_rng(seed)]
        super().reset(seed=seed)
        return self.begin(self.shared[0])


class TestSharedByInstances(OnSums):
    caught_by = "test_instances_share_no_state"
    says = "Keep state in the instance"
    env_id = planted(SharedByInstances)


class EndsBothWays(Sound):
    """Terminated and truncated at once, as a time limit of one step makes it."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        observation, reward, _, _, info = super().step(action)
        return observation, reward, True, True, info


class TestEndsBothWays(OnSums):
    caught_by = "test_an_episode_ends_one_way"
    says = "terminated=True, truncated=True"
    env_id = planted(EndsBothWays)


class NanReward(Sound):
    """Pays nothing that is a number for what it cannot read."""

    def reward(self, action: str, key: str) -> float:
        return super().reward(action, key) if action else float("nan")


class TestNanReward(OnSums):
    caught_by = "test_rewards_are_finite_and_in_their_range"
    says = "a reward must be finite"
    env_id = planted(NanReward)


class Bonus(Sound):
    """Pays a bonus that the range does not know."""

    def reward(self, action: str, key: str) -> float:
        return 1.5 if action == key else -1.0


class TestBonus(OnSums):
    caught_by = "test_rewards_are_finite_and_in_their_range"
    says = "outside of the declared range"
    env_id = planted(Bonus)


class WallClock(Sound):
    """Says how long it took."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        *rest, info = super().step(action)
        return (*rest, info | {"at": time.time()})  # type: ignore[return-value]


class TestWallClock(OnSums):
    caught_by = "test_info_is_plain_data_without_times"
    says = "No wall-clock time"
    env_id = planted(WallClock)


class ObjectsInInfo(Sound):
    """Hands out its generator."""

    def begin(self, rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
        prompt, info = super().begin(rng)
        return prompt, info | {"sum": np.int64(info["sum"])}


class TestObjectsInInfo(OnSums):
    caught_by = "test_info_is_plain_data_without_times"
    says = "is no plain data"
    env_id = planted(ObjectsInInfo)


class RaisesOnSurrogates(Sound):
    """Encodes the action, which a lone surrogate has no UTF-8 for."""

    def reward(self, action: str, key: str) -> float:
        return super().reward(action.encode().decode(), key)


class TestRaisesOnSurrogates(OnSums):
    caught_by = "test_any_string_is_a_legal_action"
    says = "raised UnicodeEncodeError"
    env_id = planted(RaisesOnSurrogates)


class RaisesOnNothing(Sound):
    """Looks at the first character."""

    def reward(self, action: str, key: str) -> float:
        return super().reward(action, key) if action[0] != "-" else -1.0


class TestRaisesOnNothing(OnSums):
    caught_by = "test_any_string_is_a_legal_action"
    says = "raised IndexError"
    env_id = planted(RaisesOnNothing)


class SubstringCredit(Sound):
    """Finds a digit of the key somewhere in the action."""

    def reward(self, action: str, key: str) -> float:
        return 1.0 if action == key or (len(action) > 3 and any(digit in action for digit in key)) else -1.0


class TestSubstringCredit(OnSums):
    caught_by = "test_a_right_action_earns_the_most"
    says = "the attack"
    env_id = planted(SubstringCredit)


class NeverContent(Sound):
    """Compares a number with a text."""

    def reward(self, action: str, key: str) -> float:
        return 1.0 if action == int(key) else -1.0  # type: ignore[comparison-overlap]


class TestNeverContent(OnSums):
    caught_by = "test_a_right_action_earns_the_most"
    says = "earned -1.0, not 1.0, the top of the range"
    env_id = planted(NeverContent)


class BlamesTheAction(Sound):
    """Scores a failure of its own machinery as a wrong answer."""

    def failed(self) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "", -1.0, True, False, {}


class TestBlamesTheAction(OnSums):
    caught_by = "test_our_failure_truncates"
    says = "never a wrong answer"
    env_id = planted(BlamesTheAction)


class QuadraticWork(Sound):
    """Compares every character with every other."""

    def reward(self, action: str, key: str) -> float:
        for one in action[:4000]:
            for other in action[:4000]:
                if one == "\1" == other:
                    return -1.0
        return super().reward(action, key)


class TestQuadraticWork(OnSums):
    caught_by = "test_work_grows_no_faster_than_the_action"
    says = "work must grow in proportion to the text"
    env_id = planted(QuadraticWork)


class StepsForEver(Sound):
    """Answers steps that no reset came before."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.numbers = self.numbers or (1, 1)
        return super().step(action)


class TestStepsForEver(OnSums):
    caught_by = "test_a_step_needs_an_episode"
    says = "it must raise gymnasium.error.ResetNeeded"
    env_id = planted(StepsForEver)


class NothingAtTheEnd(Sound):
    """Has no observation when an episode is over."""

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return None, *super().step(action)[1:]  # type: ignore[return-value]


class TestNothingAtTheEnd(OnSums):
    caught_by = "test_observations_and_sampled_actions_are_legal"
    says = "gave the observation None"
    env_id = planted(NothingAtTheEnd)


class NarrowActions(Sound):
    """Knows an alphabet of digits."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.action_space = Text(99, charset="0123456789")


class TestNarrowActions(OnSums):
    caught_by = "test_observations_and_sampled_actions_are_legal"
    says = "any string is an action"
    env_id = planted(NarrowActions)


class DrawsNothing(Sound):
    """Declares a render mode and renders nothing."""

    def render(self) -> Any:
        return None


class TestDrawsNothing(OnSums):
    caught_by = "test_declared_render_modes_work"
    says = "gave a NoneType, not a str"
    env_id = planted(DrawsNothing)


class ForgetsTheInfo(Sound):
    """Gives an observation and no info."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        return super().reset(seed=seed)[0]  # type: ignore[return-value]


class TestForgetsTheInfo(OnSums):
    caught_by = "test_gymnasiums_own_checker_is_content"
    says = "check_env"
    env_id = planted(ForgetsTheInfo)


class Unwritable(Sound):
    """Takes a function as a setting."""

    def begin(self, rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
        self.most = self.most() if callable(self.most) else self.most
        return super().begin(rng)


class TestUnwritable(OnSums):
    caught_by = "test_a_spec_survives_json_and_pickle"
    says = "the spec does not survive"
    env_id = planted(Unwritable, most=lambda: 50)


class OneSeedForAll(SyncVectorEnv):
    """Seeds all its members alike."""

    def __init__(self, num_envs: int = 1, **settings: Any) -> None:
        super().__init__([partial(Sound, **settings)] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=[seed] * self.num_envs, options=options)


class TestOneSeedForAll(OnSums):
    caught_by = "test_a_vector_equals_its_members"
    says = "observation 1 of reset(seed=21)"
    env_id = planted(Sound, OneSeedForAll)


class NoAutoresetMode(SyncVectorEnv):
    """Does not say what it does at an episode's end."""

    def __init__(self, num_envs: int = 1, **settings: Any) -> None:
        super().__init__([partial(Sound, **settings)] * num_envs)
        self.metadata = {"render_modes": ["ansi"]}


class TestNoAutoresetMode(OnSums):
    caught_by = "test_a_vector_equals_its_members"
    says = "of the vector environment is None"
    env_id = planted(Sound, NoAutoresetMode)


class PaysTheBatch(SyncVectorEnv):
    """Pays every member the mean of the batch."""

    def __init__(self, num_envs: int = 1, **settings: Any) -> None:
        super().__init__([partial(Sound, **settings)] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)

    def step(self, actions: Any) -> Any:
        observations, rewards, *rest = super().step(actions)
        return (observations, np.full_like(rewards, rewards.mean()), *rest)


class TestPaysTheBatch(OnSums):
    caught_by = "test_a_vector_equals_its_members"
    says = "reward 0"
    env_id = planted(Sound, PaysTheBatch)


class LooseText(Text):
    """Any text, of which shared memory keeps what it knows, and zeros for the rest."""

    def contains(self, x: Any) -> bool:
        return isinstance(x, str)

    def character_index(self, char: str) -> Any:
        return super().character_index(char if char in self.character_set else "0")


class NarrowObservations(Sound):
    """Has observations that shared memory changes without a word."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.observation_space = LooseText(99, min_length=0, charset="0123456789+= ")

    def begin(self, rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
        prompt, info = super().begin(rng)
        return prompt.replace("+", "\N{FULLWIDTH PLUS SIGN}"), info


class TestNarrowObservations(OnSums):
    caught_by = "test_an_asynchronous_vector_works_or_refuses"
    says = "of the vector environment is"
    env_id = planted(NarrowObservations)
