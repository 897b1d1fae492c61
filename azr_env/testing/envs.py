"""What a text environment must do (floor 7): subclass :class:`EnvConformance` and name the environment."""

from __future__ import annotations

import copy
import json
import math
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, VectorEnv

from azr_env import prompts, values
from azr_env.errors import UnknownNameError, ValueFormatError
from azr_env.testing import probes
from azr_env.testing.answers import VALUES
from azr_env.types import Mode, Role, Status, Task, Verdict

Env = gym.Env[Any, Any]
Step = tuple[Any, Any, Any, Any, Any]
MOST_STEPS: Final = 64
"""Steps after which an episode counts as endless and is begun anew."""
WILD: Final[tuple[str, ...]] = (
    *("", " ", "\n", "\0", "\ud800", "\udfff" * 9, "\u202e", "7", "None", "...", "</answer>", "<answer>", "<think>"),
    *("```", "```python", "```output\n7\n```", "<answer>```output\n```</answer>", "<think>" * 99, "</think>" * 99),
    *("import os\nos._exit(1)", "\x1b[2J", "{}", "%s%n", "\\", "'", '"""', "é" * 999, "input: 1", "program:\ninput:\n"),
)
"""Texts that break what reads them carelessly; the attack corpus comes on top."""
_LONG: Final = ("[", "```\n", "<think>", "a", "\ud800", "<answer>", "\n", "9")
_SHORT_RUN: Final = ("", "nonsense", "<think>x", "7\ninput: 3", "5", "\ud800")


class EnvConformance:
    """Everything that this package's environments promise, as tests: for any Gymnasium environment with text actions.

    ::

        class TestMine(EnvConformance):
            env_id = "Mine-v0"
            kwargs = {"difficulty": 3}

    An environment that is not registered overrides :meth:`make_env`; what needs an id is then skipped. Override
    :meth:`right_action` so that rewards can be checked.
    """

    env_id: ClassVar[str] = ""
    """Id of the environment, as ``gymnasium.make`` takes it; ``module:id`` imports the module first."""
    kwargs: ClassVar[Mapping[str, Any]] = {}
    """Settings, as ``gymnasium.make`` takes them."""
    reward_range: ClassVar[tuple[float, float] | None] = None
    """Least and greatest reward of a step; ``None`` means the ``reward_range`` of the environment itself."""
    excused: ClassVar[Mapping[str, str]] = {}
    """Names of checks that cannot apply to this environment, each with the reason; they are reported as skipped."""

    @pytest.fixture
    def make_env(self) -> Callable[..., Env]:
        """Makes an environment; keywords come on top of ``kwargs``."""
        assert self.env_id, "name the environment in `env_id`, or override the fixture `make_env`"
        return lambda **extra: gym.make(self.env_id, **{**self.kwargs, **extra})

    @pytest.fixture
    def fresh(self, make_env: Callable[..., Env]) -> Iterator[Callable[..., Env]]:
        """As ``make_env``, and closes what it made after the test."""
        made: list[Env] = []

        def make(**extra: Any) -> Env:
            made.append(make_env(**extra))
            return made[-1]

        yield make
        for env in made:
            env.close()

    @pytest.fixture(autouse=True)
    def _excuse(self, request: pytest.FixtureRequest) -> None:
        name = request.node.originalname
        if name in self.excused:
            pytest.skip(self.excused[name])

    def right_action(self, env: Env, info: Mapping[str, Any]) -> str | None:
        """An action that earns the most there is, or ``None`` where none is known.

        The default knows the solver's half of this package's environments, by the stored key of the task.
        """
        task = _task(env, info)
        return None if task is None else self.frame(env, info, prompts.key(task))

    def frame(self, env: Env, info: Mapping[str, Any], answer: str) -> str:
        """An action that gives ``answer``, in the frame that the environment reads; the default knows ours."""
        domain = getattr(env.unwrapped, "domain", None)
        if domain is None or info.get("role") != Role.SOLVER:
            return answer
        style = env.unwrapped.style  # type: ignore[attr-defined]
        return prompts.completion_of(domain, Mode(info["mode"]), answer, style)

    def readable_action(self, env: Env, info: Mapping[str, Any]) -> str | None:
        """An action that must be verified to be judged; a right one, or a proposal that our proposer's ids admit."""
        right = self.right_action(env, info)
        domain = getattr(env.unwrapped, "domain", None)
        if right is not None or domain is None or info.get("role") != Role.PROPOSER:
            return right
        mode = Mode(info["mode"])
        if prompts.gives_program(domain, mode):
            return None
        draft = domain.generate(mode, np.random.default_rng(len(str(info))), {})
        style = env.unwrapped.style  # type: ignore[attr-defined]
        return prompts.proposal_of(domain, draft.program, draft.inputs, style, draft.message)

    # Gymnasium

    def test_gymnasiums_own_checker_is_content(self, fresh: Callable[..., Env]) -> None:
        """``gymnasium.utils.env_checker.check_env`` neither raises nor warns."""
        env = fresh()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                check_env(env.unwrapped, skip_render_check=env.spec is None)
            except Exception as exc:
                raise AssertionError(f"check_env raised {type(exc).__name__}: {exc}") from exc
        told = [str(warning.message) for warning in caught]
        assert not told, f"check_env warned {len(told)} times, first: {told[0]}"

    def test_observations_and_sampled_actions_are_legal(self, fresh: Callable[..., Env]) -> None:
        """Every observation lies in its space, at an episode's end too; ``action_space.sample()`` can be played."""
        env = fresh()
        env.action_space.seed(0)
        for number in range(4):
            observation, info = env.reset(seed=number)
            _in_space(env, observation, "reset()")
            assert isinstance(info, dict), f"the info of reset() is {probes.short(info)}, no dict"
            action = env.action_space.sample()
            assert action in env.action_space, f"action_space.sample() gave {action!r}, which is not in action_space"
            observation, _, _, _, info = _step(env, action)
            _in_space(env, observation, f"step({probes.short(action)})")
            assert isinstance(info, dict), f"the info of step() is {probes.short(info)}, no dict"
        for text in (*WILD, "[" * 100_000):
            assert text in env.action_space, f"{probes.short(text)} is not in action_space: any string is an action"

    def test_a_step_needs_an_episode(self, fresh: Callable[..., Env]) -> None:
        """Before ``reset()`` and after an episode's end, ``step()`` raises ``gymnasium.error.ResetNeeded``."""
        env = fresh()
        for target, name in ((env, "the environment"), (fresh().unwrapped, "the environment without its wrappers")):
            _needs_reset(target, f"{name} before any reset()")
            target.reset(seed=0)
            for _ in range(MOST_STEPS):
                *_, terminated, truncated, _ = _step(target, "nonsense")
                if terminated or truncated:
                    break
            else:
                pytest.skip(f"no episode of actions 'nonsense' ends within {MOST_STEPS} steps")
            _needs_reset(target, f"{name} after the end of an episode")

    def test_declared_render_modes_work(self, fresh: Callable[..., Env]) -> None:
        """Each mode of ``metadata["render_modes"]`` gives what Gymnasium says of it, before and after a step."""
        for mode in fresh().metadata.get("render_modes", []):
            env = fresh(render_mode=mode)
            assert env.render_mode == mode, f"made with render_mode={mode!r}, it has render_mode={env.render_mode!r}"
            env.reset(seed=0)
            first = env.render()
            _step(env, "\ud800 nonsense")
            for shown in (first, env.render()):
                kind = {"ansi": str, "rgb_array": np.ndarray, "human": type(None)}.get(mode, list)
                assert isinstance(shown, kind), (
                    f"render() in mode {mode!r} gave a {type(shown).__name__}, not a {kind.__name__}"
                )

    # Seeds and state

    def test_a_seed_is_honoured(self, fresh: Callable[..., Env]) -> None:
        """Equal seeds give equal episodes, in one environment and in another; other seeds and later episodes differ."""
        env = fresh()
        first, again, other = self._play(env, 7), self._play(env, 7), self._play(fresh(), 7)
        for record, where in ((again, "in the same environment again"), (other, "in another instance")):
            assert record == first, f"seed 7 gave other episodes {where}: {_first_difference(first, record)}"
        begins = [[entry[0] for entry in self._play(env, seed) if len(entry) == 2] for seed in (7, 8, 9, 10)]
        assert any(begin != begins[0] for begin in begins), (
            f"seeds 7 to 10 all began with the observations {probes.short(begins[0])}: reset(seed=...) must decide, by "
            "self.np_random after super().reset(seed=seed)"
        )
        assert any(len(set(map(str, begin))) > 1 for begin in begins), (
            "reset() without a seed gave the first episode again, four times for four seeds: it goes on where it was"
        )

    def test_the_global_random_state_does_not_matter(self, fresh: Callable[..., Env]) -> None:
        """The seed decides, and not the global state of ``random`` or ``numpy.random``, which is left alone."""
        records = []
        for seed in (1, 2):
            with probes.global_seeds(seed), probes.quiet_random_state("the environment"):
                records.append(self._play(fresh(), 3))
        assert records[0] == records[1], (
            f"with other global random states seed 3 gave other episodes: {_first_difference(*records)}. Draw from "
            "self.np_random"
        )

    def test_other_processes_agree(self, fresh: Callable[..., Env], request: pytest.FixtureRequest) -> None:
        """The same episodes in fresh processes, each under another ``PYTHONHASHSEED``."""
        record = json.loads(json.dumps(self._play(fresh(), 5)))
        for seed, there in probes.elsewhere(request, record):
            assert there == record, (
                f"in another process under PYTHONHASHSEED={seed} seed 5 gave other episodes: "
                f"{_first_difference(record, there)}"
            )

    def test_instances_share_no_state(self, fresh: Callable[..., Env]) -> None:
        """An environment plays the same episodes while another one is played between its steps."""
        expected = self._play(fresh(), 11)
        one, two = fresh(), fresh()
        mixed = []
        other = self._moves(two, 99)
        for entry in self._moves(one, 11):
            mixed.append(entry)
            next(other, None)
        assert mixed == expected, (
            f"played in turns with another instance, seed 11 gave other episodes: {_first_difference(expected, mixed)}"
            ". Keep state in the instance"
        )

    # Actions and rewards

    def test_any_string_is_a_legal_action(self, fresh: Callable[..., Env]) -> None:
        """``step()`` never raises for a string: wild text, the attack corpus, nothing, a megabyte."""
        env = fresh()
        _, info = env.reset(seed=0)
        for number, text in enumerate([*WILD, *_bulks(1 << 20), *VALUES.values()]):
            _, info = env.reset(seed=number % 5)
            for action in dict.fromkeys((text, self.frame(env, info, text))):
                with probes.watchdog(f"step() with {probes.short(action, 60)}"):
                    *_, terminated, truncated, info = _step(env, action)
                if terminated or truncated:
                    _, info = env.reset()

    def test_rewards_are_finite_and_in_their_range(self, fresh: Callable[..., Env]) -> None:
        """Each reward is a finite number inside the declared range, for right, wrong and wild actions."""
        env = fresh()
        low, high = self._range(env)
        for action, (_, reward, *_) in self._some_steps(env):
            told = f"step({probes.short(action, 60)}) gave the reward {reward!r}"
            assert isinstance(reward, int | float | np.number), f"{told}, a {type(reward).__name__} and no number"
            assert math.isfinite(reward), f"{told}: a reward must be finite"
            assert low <= reward <= high, f"{told}, outside of the declared range {low} to {high}"

    def test_an_episode_ends_one_way(self, fresh: Callable[..., Env]) -> None:
        """``terminated`` and ``truncated`` are booleans and never both true."""
        for action, (_, _, terminated, truncated, _) in self._some_steps(fresh()):
            told = f"step({probes.short(action, 60)}) gave terminated={terminated!r}, truncated={truncated!r}"
            for flag in (terminated, truncated):
                assert isinstance(flag, bool | np.bool_), f"{told}: both are booleans"
            assert not (terminated and truncated), (
                f"{told}: an episode that the action ended is terminated, one that was broken off is truncated"
            )

    def test_info_is_plain_data_without_times(self, fresh: Callable[..., Env]) -> None:
        """``info`` survives ``copy.deepcopy`` and JSON, and a second run of the same actions gives the same."""
        runs = []
        for _ in range(2):
            env = fresh()
            infos = [env.reset(seed=2)[1], *[found[4] for _, found in self._some_steps(env)]]
            for info in infos:
                try:
                    json.dumps(copy.deepcopy(info))
                except (TypeError, ValueError) as exc:
                    raise AssertionError(f"the info {probes.short(info)} is no plain data: {exc}") from exc
            runs.append(infos)
        assert runs[0] == runs[1], (
            f"the same actions after the same seed gave other infos: {_first_difference(*runs)}. No wall-clock time, "
            "address or process id belongs there"
        )

    def test_a_right_action_earns_the_most(self, fresh: Callable[..., Env]) -> None:
        """A right action earns the top of the range; wrong ones and the attack corpus earn less."""
        env = fresh()
        high = self._range(env)[1]
        known = 0
        for seed in range(4):
            _, info = env.reset(seed=seed)
            right = self.right_action(env, info)
            if right is None:
                continue
            known += 1
            reward = _step(env, right)[1]
            assert reward == high, (
                f"the right action {probes.short(right)} earned {reward!r}, not {high}, the top of the range"
            )
            for text in _NO_LITERALS[seed::4]:
                _, info = env.reset(seed=seed)
                wrong = self.frame(env, info, text)
                reward = _step(env, wrong)[1]
                assert reward < high, (
                    f"the attack {probes.short(text)} in the action {probes.short(wrong)} earned {reward!r}"
                )
        if not known:
            pytest.skip("no right action is known: override right_action()")

    def test_our_failure_truncates(self, fresh: Callable[..., Env]) -> None:
        """Where a verifier or executor fails by itself, the episode is truncated with reward 0: nobody is to blame."""
        asked = []
        for name in ("verifier", "executor"):
            double: Any = _FailingVerifier() if name == "verifier" else probes.failing_executor()
            try:
                env = fresh(**{name: double})
                _, info = env.reset(seed=0)
            except Exception:  # noqa: BLE001 - it takes no such keyword, or cannot even begin without a working one
                continue
            for seed in range(8):
                _, info = env.reset(seed=seed)
                before = len(double.jobs)
                action = self.readable_action(env, info)
                if action is None:
                    continue
                _, reward, terminated, truncated, info = _step(env, action)
                if len(double.jobs) == before:
                    continue
                asked.append(name)
                assert (reward, terminated, truncated) == (0, False, True), (
                    f"with a {name} whose own machinery fails, a step gave reward={reward!r}, "
                    f"terminated={terminated!r}, truncated={truncated!r}: our failure is truncated=True with reward 0, "
                    "never a wrong answer"
                )
        if not asked:
            pytest.skip("no verifier= or executor= could be replaced by one that fails, or none was asked")

    def test_work_grows_no_faster_than_the_action(self, fresh: Callable[..., Env]) -> None:
        """A long action costs executed lines in proportion to its length, bare and in the frame of an answer."""
        env = fresh()
        _, info = env.reset(seed=0)

        def bare(text: str) -> None:
            env.reset(seed=0)
            _step(env, text)

        probes.check_linear(bare, "step() with an action")
        probes.check_linear(lambda text: bare(self.frame(env, info, text)), "step() with an answer")

    # Specs and vectors

    def test_a_spec_survives_json_and_pickle(self, fresh: Callable[..., Env]) -> None:
        """``env.spec`` goes through JSON, pickle and a deep copy, and makes an environment that plays the same."""
        env = fresh()
        if env.spec is None:
            pytest.skip("the environment was not made by gymnasium.make, so it has no spec")
        expected = self._play(env, 4)
        for way, trip in (
            ("JSON", lambda spec: EnvSpec.from_json(spec.to_json())),
            ("pickle", lambda spec: pickle.loads(pickle.dumps(spec))),  # noqa: S301 - our own bytes
            ("copy.deepcopy", copy.deepcopy),
        ):
            try:
                again = gym.make(trip(env.spec))
            except Exception as exc:
                raise AssertionError(
                    f"the spec does not survive {way} ({type(exc).__name__}: {exc}): keep kwargs to names, numbers and "
                    "texts"
                ) from exc
            record = self._play(again, 4)
            again.close()
            assert record == expected, (
                f"an environment made from the spec after {way} plays other episodes: "
                f"{_first_difference(expected, record)}"
            )

    def test_a_vector_equals_its_members(self, fresh: Callable[..., Env]) -> None:
        """``gymnasium.make_vec`` steps, seeds and resets as its members do one by one, and names its autoreset mode."""
        self._compare_and_close(self._made_vector(3), [fresh() for _ in range(3)], turns=6)

    def test_an_asynchronous_vector_works_or_refuses(self, fresh: Callable[..., Env]) -> None:
        """Texts never cross shared memory silently changed: it works, or is refused; without it, it works."""
        told = "nothing was refused"
        with probes.watchdog("an asynchronous vector with shared memory"):
            try:
                envs = self._made_vector(2, vectorization_mode="async")
                self._compare_and_close(envs, [fresh(), fresh()], turns=3)
            except AssertionError:
                raise
            except Exception as exc:  # noqa: BLE001 - any loud refusal will do
                told = str(exc)
        assert told, "an asynchronous vector with shared memory is refused without a word of why"
        with probes.watchdog("an asynchronous vector without shared memory"):
            envs = self._made_vector(2, vectorization_mode="async", vector_kwargs={"shared_memory": False})
            self._compare_and_close(envs, [fresh(), fresh()], turns=3)

    def _made_vector(self, count: int, **settings: Any) -> VectorEnv[Any, Any, Any]:
        if not self.env_id:
            pytest.skip("the environment has no id")
        return gym.make_vec(self.env_id, num_envs=count, **settings, **dict(self.kwargs))

    def _compare_and_close(self, envs: VectorEnv[Any, Any, Any], singles: list[Env], turns: int) -> None:
        try:
            mode = envs.metadata.get("autoreset_mode")
            assert isinstance(mode, AutoresetMode), (
                f'metadata["autoreset_mode"] of the vector environment is {mode!r}: it is a '
                "gymnasium.vector.AutoresetMode"
            )
            self._compare(envs, singles, mode, turns)
        finally:
            envs.close()

    def _compare(self, envs: VectorEnv[Any, Any, Any], singles: list[Env], mode: AutoresetMode, turns: int) -> None:
        """Plays the vector beside its members, as the autoreset mode says."""
        observations, infos = envs.reset(seed=21)
        members = [env.reset(seed=21 + k) for k, env in enumerate(singles)]
        infos_now = [info for _, info in members]
        over = [False] * len(singles)
        for k, (observation, info) in enumerate(members):
            _same(
                _plain(observations[k]),
                _plain(observation),
                f"observation {k} of reset(seed=21)",
                f"reset(seed={21 + k})",
            )
            _same(_member(infos, k), _plain(info), f"info {k} of reset(seed=21)", f"reset(seed={21 + k})")
        for turn in range(turns):
            if mode is AutoresetMode.DISABLED and any(over):
                envs.reset(options={"reset_mask": np.array(over)})
                infos_now = [
                    env.reset()[1] if done else info for env, done, info in zip(singles, over, infos_now, strict=True)
                ]
                over = [False] * len(singles)
            actions = [self._action(env, infos_now[k], turn + k) for k, env in enumerate(singles)]
            got = envs.step(tuple(actions))
            for k, env in enumerate(singles):
                if mode is AutoresetMode.NEXT_STEP and over[k]:
                    observation, info = env.reset()
                    found: Step = (observation, 0.0, False, False, info)
                else:
                    found = _step(env, actions[k])
                over[k] = bool(found[2] or found[3])
                final: Any = None
                if mode is AutoresetMode.SAME_STEP and over[k]:
                    final, found = found, (*env.reset(), *found[1:4])
                    found = (found[0], *found[2:5], found[1])
                self._compare_step(got, found, final, k, f"turn {turn}, action {probes.short(actions[k], 60)}")
                infos_now[k] = found[4]

    def _compare_step(self, got: Sequence[Any], found: Step, final: Step | None, k: int, when: str) -> None:
        for name, index in (("observation", 0), ("reward", 1), ("terminated", 2), ("truncated", 3)):
            _same(_plain(got[index][k]), _plain(found[index]), f"{name} {k} ({when})", "the member by itself")
        infos = got[4]
        _same(_member(infos, k), _plain(found[4]), f"info {k} ({when})", "the member by itself")
        if final is not None:
            assert {"final_obs", "final_info"} <= set(infos), (
                f"an episode ended ({when}) and info lacks final_obs or final_info, which SAME_STEP autoreset gives"
            )
            _same(_plain(infos["final_obs"][k]), _plain(final[0]), f"final_obs {k} ({when})", "the member by itself")
            _same(_member(infos["final_info"], k), _plain(final[4]), f"final_info {k} ({when})", "the member by itself")

    # What the checks share

    def _range(self, env: Env) -> tuple[float, float]:
        known = self.reward_range or getattr(env.unwrapped, "reward_range", None)
        assert known is not None, "no range of rewards is declared: set reward_range here or in the environment"
        return known[0], known[1]

    def _action(self, env: Env, info: Mapping[str, Any], number: int) -> str:
        """A right action, a proposal or a text that is neither, in turn."""
        known = self.readable_action(env, info) if number % 2 == 0 else None
        return _SHORT_RUN[number % len(_SHORT_RUN)] if known is None else known

    def _moves(self, env: Env, seed: int, episodes: int = 4) -> Iterator[list[Any]]:
        """What each reset ([observation, info]) and each step gives, as data."""
        for episode in range(episodes):
            observation, info = env.reset(seed=seed if episode == 0 else None)
            yield [_plain(observation), _plain(info)]
            for number in range(MOST_STEPS):
                observation, reward, terminated, truncated, info = _step(env, self._action(env, info, episode + number))
                yield [_plain(each) for each in (observation, reward, terminated, truncated, info)]
                if terminated or truncated:
                    break

    def _play(self, env: Env, seed: int) -> list[Any]:
        return list(self._moves(env, seed))

    def _some_steps(self, env: Env) -> Iterator[tuple[str, Step]]:
        """Right, wrong and wild actions, each in an episode of its own."""
        for number, text in enumerate((*WILD, None, None, None, "", "8", "None", "def f(x): return x")):
            _, info = env.reset(seed=number)
            action = self.readable_action(env, info) if text is None else self.frame(env, info, text)
            for _ in range(MOST_STEPS):
                if action is None:
                    break
                found = _step(env, action)
                yield action, found
                if found[2] or found[3]:
                    break
                action = self._action(env, found[4], number)


class _FailingVerifier:
    """Says ``error`` of every answer, and keeps what it was asked."""

    def __init__(self) -> None:
        self.jobs: list[Task] = []

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        self.jobs += [task for task, _ in answers]
        return [Verdict(Status.ERROR, "the machinery failed") for _ in answers]


def _no_literal(text: str) -> bool:
    for read in (values.parse, values.parse_arguments):
        try:
            read(text)
        except ValueFormatError:
            continue
        return False
    return True


_NO_LITERALS: Final = tuple(text for text in VALUES.values() if _no_literal(text))


def _task(env: Env, info: Mapping[str, Any]) -> Task | None:
    """The task that the solver of one of our environments is asked, where its source knows it."""
    source = getattr(env.unwrapped, "source", None)
    if source is None or info.get("role") != Role.SOLVER:
        return None
    try:
        return source.get(info["task_id"])  # type: ignore[no-any-return]
    except UnknownNameError:  # proposed in this very episode
        return None


def _step(env: Env, action: Any) -> Step:
    """A step that must not raise."""
    try:
        found = env.step(action)
    except Exception as exc:
        raise AssertionError(
            f"step({probes.short(action)}) raised {type(exc).__name__} ({probes.short(str(exc))}): any string is a "
            "legal action, and what is wrong with it is a reward"
        ) from exc
    assert len(found) == 5, f"step() gave {len(found)} values: observation, reward, terminated, truncated, info"
    return found


def _needs_reset(env: Env, what: str) -> None:
    try:
        found = env.step("nonsense")
    except gym.error.ResetNeeded:
        return
    except Exception as exc:
        raise AssertionError(f"step() of {what} raised {type(exc).__name__}, not gymnasium.error.ResetNeeded") from exc
    raise AssertionError(f"step() of {what} gave {probes.short(found)}: it must raise gymnasium.error.ResetNeeded")


def _in_space(env: Env, observation: Any, where: str) -> None:
    assert observation in env.observation_space, (
        f"{where} gave the observation {probes.short(observation)}, which {env.observation_space} does not contain"
    )


def _bulks(size: int) -> Iterator[str]:
    for piece in _LONG:
        yield probes.bulk(piece, size)


def _plain(value: Any) -> Any:
    """Numpy's scalars and arrays, and containers of them, as plain data that equality compares by value."""
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | int | float | bool | type(None)):
        return "nan" if value != value else value
    return f"<{type(value).__name__}>"


def _member(infos: Mapping[str, Any], k: int) -> dict[str, Any]:
    """The info of member ``k``, out of Gymnasium's vector info."""
    found = {}
    for key, column in infos.items():
        mask = infos.get(f"_{key}")
        if key in ("final_obs", "final_info") or mask is None or not mask[k]:
            continue
        found[str(key)] = _member(column, k) if isinstance(column, dict) else _plain(column[k])
    return found


def _same(got: Any, wanted: Any, what: str, other: str) -> None:
    assert got == wanted, (
        f"{what} of the vector environment is {probes.short(got)}, and {other} gave {probes.short(wanted)}: a vector's "
        "results are those of its members"
    )


def _first_difference(one: Sequence[Any], two: Sequence[Any]) -> str:
    for number, (a, b) in enumerate(zip(one, two, strict=False)):
        if a != b:
            return f"entry {number} was {probes.short(a, 200)} and is {probes.short(b, 200)}"
    return f"one run has {len(one)} entries, the other {len(two)}"
