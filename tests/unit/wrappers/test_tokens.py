"""Texts written token by token.

Not covered: libraries that train through the wrapper; `tests/examples` runs those.
"""

from __future__ import annotations

import functools
import pickle
import string
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from hypothesis import given
from hypothesis import strategies as st

import azr_env  # noqa: F401  (registers the ids)
from azr_env.envs.spaces import AnyText
from azr_env.errors import SettingError
from azr_env.testing.strategies import wild_text
from azr_env.wrappers import AlphabetTokenizer, ByteTokenizer, Tokenizer, TokenWrapper

SHIPPED = Path(__file__).parents[3] / "agents" / "azr_agents" / "tiny" / "weights" / "prime_inversion"
IDS = sorted(name for name in gym.registry if name.startswith("AZR-"))
PRIMES = {"domain": "prime_inversion", "tasks": "builtin:primes=3-7", "style": "compact"}
DIGITS = {"max_prompt_tokens": 12, "max_answer_tokens": 3, "alphabet": string.digits + "\n", "allowed": string.digits}
END = 256


class Echo(gym.Env[str, str]):
    """Shows "prompt", keeps what it is sent, and ends after `turns` texts; `failing` truncates instead."""

    def __init__(self, turns: int = 1, failing: bool = False, prompt: str = "prompt") -> None:
        self.observation_space = AnyText(1000)
        self.action_space = AnyText(1000)
        self.turns, self.failing, self.prompt = turns, failing, prompt
        self.sent: list[str] = []
        self.resets: list[tuple[int | None, dict[str, Any] | None]] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.sent = []
        self.resets.append((seed, options))
        return self.prompt, {"task_id": "t"}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.sent.append(action)
        over = len(self.sent) == self.turns
        observation = "" if over else f"again {len(self.sent)}"
        return observation, 0.25, over and not self.failing, over and self.failing, {"count": len(self.sent)}


def write(env: TokenWrapper, text: str, end: bool = True) -> tuple[Any, ...]:
    """The last step of writing a text."""
    tokens = env.tokenizer.encode(text, add_special_tokens=False)
    for token in [*tokens, env.end] if end else tokens:
        result = env.step(np.int64(token))
    return result


def shown(observation: np.ndarray) -> str:
    """A byte observation as text, `.` for padding."""
    return "".join("." if token == END else chr(token) for token in observation)


@given(wild_text)
def test_bytes_there_and_back(text: str) -> None:
    tokenizer = ByteTokenizer()
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text.encode("utf-8", "replace").decode()
    assert all(0 <= token < 256 for token in tokens)


@given(st.lists(st.integers(0, 256)))
def test_any_bytes_are_text(tokens: list[int]) -> None:
    text = ByteTokenizer().decode(tokens)
    assert text == bytes(token for token in tokens if token != END).decode("utf-8", "replace")
    text.encode("utf-8")


def test_an_alphabet() -> None:
    tokenizer = AlphabetTokenizer("01é")
    assert (len(tokenizer), tokenizer.eos_token_id) == (4, 3)
    assert tokenizer.encode("x = 10é") == [1, 0, 2], "what it lacks is left out"
    assert tokenizer.decode([1, 0, 2, 3]) == "10é"


@pytest.mark.parametrize("alphabet", ["", "aa"])
def test_an_alphabet_has_each_character_once(alphabet: str) -> None:
    with pytest.raises(SettingError, match="each of them once"):
        AlphabetTokenizer(alphabet)


def test_the_window_is_right_aligned_and_padded_with_the_end_token() -> None:
    env = TokenWrapper(Echo(), 8, 4)
    observation, info = env.reset()
    assert (shown(observation), observation.dtype) == ("......prompt", np.int64)
    assert info["task_id"] == "t"
    seen = [shown(env.step(np.int64(token))[0]) for token in b"ab"]
    assert seen == [".....prompta", "....promptab"]
    observation, *_ = env.step(np.int64(END))
    assert shown(observation) == "...promptab.", "what was written stays visible at the end"


def test_a_prompt_as_long_as_its_place_is_seen_to_the_last_token() -> None:
    env = TokenWrapper(Echo(), 6, 3)
    env.reset()
    assert shown(write(env, "abc", end=False)[0]) == "promptabc"


def test_a_longer_prompt_is_cut_from_the_left_with_a_warning() -> None:
    env = TokenWrapper(Echo(), 4, 2)
    with pytest.warns(UserWarning, match="cut to its last 4 tokens: raise max_prompt_tokens"):
        observation, _ = env.reset()
    assert shown(observation) == "..ompt"


def test_reward_comes_with_the_end_token_only() -> None:
    env = TokenWrapper(Echo(), 8, 4)
    env.reset()
    for token in b"ab":
        _, reward, terminated, truncated, info = env.step(np.int64(token))
        assert (reward, terminated, truncated, set(info)) == (0.0, False, False, {"action_mask"})
    _, reward, terminated, truncated, info = env.step(np.int64(END))
    assert (reward, terminated, truncated) == (0.25, True, False)
    assert (info["completion"], info["count"]) == ("ab", 1)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_full_text_is_sent_without_an_end_token(length: int) -> None:
    echo = Echo()
    env = TokenWrapper(echo, 8, length)
    env.reset()
    assert write(env, "a" * length, end=False)[2]
    assert echo.sent == ["a" * length]


def test_an_empty_text_is_sent_too() -> None:
    echo = Echo()
    env = TokenWrapper(echo, 8, 4)
    env.reset()
    assert write(env, "")[2]
    assert echo.sent == [""]


def test_several_attempts() -> None:
    echo = Echo(turns=3)
    env = TokenWrapper(echo, 10, 2)
    env.reset()
    observation, reward, terminated, _, info = write(env, "a")
    assert (shown(observation), reward, terminated, info["completion"]) == (".....again 1", 0.25, False, "a")
    assert shown(write(env, "bc", end=False)[0]) == ".....again 2"
    observation, _, terminated, _, _ = write(env, "")
    assert (shown(observation), terminated) == ("....again 2.", True)
    assert echo.sent == ["a", "bc", ""]


def test_a_failure_of_ours_truncates() -> None:
    env = TokenWrapper(Echo(failing=True), 8, 2)
    env.reset()
    assert write(env, "a")[2:4] == (False, True)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.int64(1))


def test_step_before_reset_and_after_the_end() -> None:
    env = TokenWrapper(Echo(), 8, 2)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.int64(1))
    env.reset()
    write(env, "a")
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.int64(1))
    env.reset()
    env.step(np.int64(97))
    env.reset()
    assert write(env, "b")[4]["completion"] == "b", "reset forgets what was half written"


@pytest.mark.parametrize("action", [-1, 257, 1.0, "a", None])
def test_an_action_that_is_no_token_is_the_callers_mistake(action: Any) -> None:
    env = TokenWrapper(Echo(), 8, 2)
    env.reset()
    with pytest.raises(SettingError, match="a token id from 0 to 256"):
        env.step(action)
    assert write(env, "a")[4]["completion"] == "a"


def test_python_integers_are_tokens() -> None:
    env = TokenWrapper(Echo(), 8, 2)
    env.reset()
    assert shown(env.step(97)[0])[-1] == "a"  # type: ignore[arg-type]


def test_what_is_returned_is_the_callers_own() -> None:
    env = TokenWrapper(Echo(), 8, 2, allowed="ab")
    observation, info = env.reset()
    observation[:] = 0
    info["action_mask"][:] = False
    env.action_masks()[:] = False
    observation, _, _, _, info = env.step(np.int64(97))
    assert shown(observation) == "...prompta"
    assert np.flatnonzero(info["action_mask"]).tolist() == [97, 98, END]


def test_the_mask_allows_what_allowed_says() -> None:
    env = TokenWrapper(Echo(turns=2), 8, 3, allowed="ba")
    _, info = env.reset()
    for mask in (info["action_mask"], env.action_masks()):
        assert (mask.dtype, mask.shape) == (np.bool_, (257,))
        assert np.flatnonzero(mask).tolist() == [97, 98], "no empty text"
    env.step(np.int64(97))
    assert np.flatnonzero(env.action_masks()).tolist() == [97, 98, END]
    _, _, _, _, info = env.step(np.int64(END))
    assert np.flatnonzero(info["action_mask"]).tolist() == [97, 98], "the second text begins"


def test_without_allowed_everything_is() -> None:
    env = TokenWrapper(Echo(), 8, 3)
    assert env.action_masks().all()
    _, info = env.reset()
    assert info["action_mask"].all()
    assert write(env, "a")[4]["action_mask"].all()


def test_a_masked_token_can_be_written() -> None:
    echo = Echo()
    env = TokenWrapper(echo, 8, 3, allowed="a")
    env.reset()
    write(env, "zz")
    assert echo.sent == ["zz"]


@given(st.lists(st.integers(0, 1000), max_size=12), st.sampled_from(["7", "ab", None]))
def test_a_mask_is_never_empty_and_walking_under_it_gives_allowed_texts(
    choices: list[int], allowed: str | None
) -> None:
    echo = Echo(turns=100)
    env = TokenWrapper(echo, 8, 3, allowed=allowed)
    env.reset()
    for choice in choices:
        options = np.flatnonzero(env.action_masks())
        assert len(options) > 0
        env.step(options[choice % len(options)])
    if allowed is not None:
        assert all(text and set(text) <= set(allowed) for text in echo.sent)


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"max_prompt_tokens": 0}, "max_prompt_tokens=0"),
        ({"max_answer_tokens": 0}, "max_answer_tokens=0"),
        ({"max_answer_tokens": 2.5}, "max_answer_tokens=2.5"),
        ({"alphabet": "aa"}, "each of them once"),
        ({"alphabet": "ab", "tokenizer": ByteTokenizer()}, "not both"),
        ({"allowed": ""}, "give characters"),
        ({"allowed": "é"}, "none for 'é'"),
        ({"allowed": "abc", "alphabet": "ab"}, "none for 'c'"),
    ],
)
def test_wrong_settings_say_what_would_work(kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        TokenWrapper(Echo(), **kwargs)


def test_only_environments_of_texts_are_wrapped() -> None:
    with pytest.raises(SettingError, match="environments of texts; this one has Box"):
        TokenWrapper(gym.make("CartPole-v1"))


def test_a_tokenizer_without_an_end_token_is_refused() -> None:
    class Endless(ByteTokenizer):
        eos_token_id = None  # type: ignore[assignment]

    with pytest.raises(SettingError, match="no eos_token_id"):
        TokenWrapper(Echo(), tokenizer=Endless())


def test_seeds_and_options_reach_the_text_environment() -> None:
    echo = Echo()
    TokenWrapper(echo, 8, 2).reset(seed=5, options={"task_id": "x"})
    assert echo.resets == [(5, {"task_id": "x"})]
    one, two = (TokenWrapper(gym.make("AZR-Deduction-v0", **PRIMES), **DIGITS) for _ in range(2))
    first = [one.reset(seed=7 if k == 0 else None)[0].tolist() for k in range(6)]
    assert [two.reset(seed=7 if k == 0 else None)[0].tolist() for k in range(6)] == first
    assert [two.reset(seed=8 if k == 0 else None)[0].tolist() for k in range(6)] != first


@given(text=wild_text, seed=st.integers(0, 50))
def test_the_same_text_earns_the_same(text: str, seed: int) -> None:
    readable = text.encode("utf-8", "replace").decode()
    plain = gym.make("AZR-Abduction-v0", **PRIMES)
    tokens = TokenWrapper(gym.make("AZR-Abduction-v0", **PRIMES), 64, 1000)
    plain.reset(seed=seed)
    tokens.reset(seed=seed)
    _, *expected, verdict = plain.step(readable)
    _, *found, info = write(tokens, text)
    assert found == expected
    assert info["completion"] == readable
    assert info["verdict"] == verdict["verdict"]


@pytest.mark.parametrize("prompt", ["", "\ud800x", "\0é\U0010ffff"])
def test_any_prompt(prompt: str) -> None:
    env = TokenWrapper(Echo(prompt=prompt), 16, 2)
    observation, _ = env.reset()
    assert observation in env.observation_space


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize(
    "settings", [{}, {"alphabet": string.printable, "allowed": string.digits}], ids=["bytes", "digits"]
)
def test_check_env(name: str, settings: dict[str, Any]) -> None:
    """Gymnasium's own checks, its warnings included, but for the one that says that there is a wrapper."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*is different from the unwrapped version")
        env = gym.make(name, domain="prime_inversion", disable_env_checker=True)
        check_env(TokenWrapper(env, max_answer_tokens=4, **settings))


@pytest.mark.parametrize("name", IDS)
def test_prompts_of_every_id_fit_by_default(name: str) -> None:
    env = TokenWrapper(gym.make(name, domain="prime_inversion"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(20):
            env.reset(seed=seed)


def test_rendering_is_the_text_environments() -> None:
    env = TokenWrapper(gym.make("AZR-Deduction-v0", render_mode="ansi", **PRIMES), **DIGITS)
    env.reset(seed=0)
    write(env, "1")
    assert env.render_mode == "ansi"
    assert "reward" in str(env.render())


def test_a_spec_survives_pickle_and_json() -> None:
    env = TokenWrapper(gym.make("AZR-Deduction-v0", **PRIMES), **DIGITS)
    assert env.spec is not None
    expected, _ = env.reset(seed=4)
    for spec in (
        pickle.loads(pickle.dumps(env.spec)),  # noqa: S301
        gym.envs.registration.EnvSpec.from_json(env.spec.to_json()),
    ):
        again = gym.make(spec)
        assert isinstance(again, TokenWrapper)
        assert (again.observation_space, again.action_space) == (env.observation_space, env.action_space)
        assert again.reset(seed=4)[0].tolist() == expected.tolist()
        assert again.action_masks().tolist() == env.action_masks().tolist()


def vector(mode: str) -> gym.vector.VectorEnv:
    return gym.make_vec(
        "AZR-Deduction-v0",
        num_envs=3,
        vectorization_mode=mode,
        wrappers=[functools.partial(TokenWrapper, **DIGITS)],
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        **PRIMES,
    )


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vectors(mode: str) -> None:
    """Also across processes with shared memory, which texts cannot cross."""
    envs = vector(mode)
    observation, infos = envs.reset(seed=5)
    assert observation.shape == (3, 15)
    assert infos["action_mask"].shape == (3, 12)
    assert infos["action_mask"].sum(axis=1).tolist() == [10, 10, 10]
    _, rewards, terminated, _, infos = envs.step(np.array([1, 11, 0]))
    assert terminated.tolist() == [False, True, False], "the second one is sent empty"
    assert rewards.tolist() == [0.0, -1.0, 0.0]
    assert infos["action_mask"].sum(axis=1).tolist() == [11, 10, 11], "the second one writes a new text already"
    assert infos["final_info"]["verdict"]["status"][1] == "malformed"
    envs.close()


def test_a_hugging_face_tokenizer() -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer: Tokenizer = transformers.AutoTokenizer.from_pretrained(SHIPPED)
    env = TokenWrapper(gym.make("AZR-Deduction-v0", **PRIMES), 64, 8, tokenizer=tokenizer, allowed=string.digits)
    assert env.action_space.n == len(tokenizer)
    observation, info = env.reset(seed=0)
    prompt, _ = gym.make("AZR-Deduction-v0", **PRIMES).reset(seed=0)
    assert tokenizer.decode(observation.tolist(), skip_special_tokens=True) == prompt
    assert observation[0] == tokenizer.eos_token_id
    allowed = [tokenizer.decode([k], skip_special_tokens=True) for k in np.flatnonzero(info["action_mask"])]
    assert sorted(allowed) == sorted(string.digits)
    p, x = (int(line.partition(": ")[2]) for line in prompt.splitlines()[:2])
    _, reward, terminated, _, info = write(env, str(pow(x, -1, p)))
    assert (reward, terminated, info["completion"]) == (1.0, True, str(pow(x, -1, p)))
    pickle.loads(pickle.dumps(env.spec))  # noqa: S301
    odd = TokenWrapper(Echo(prompt="\ud800"), 8, 2, tokenizer=tokenizer)
    odd.reset()
