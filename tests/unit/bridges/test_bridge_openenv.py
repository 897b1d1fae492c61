"""The OpenEnv server and client. Skipped where that library is not installed.

A server in a process of its own, with its end, is in tests/examples/test_servers.py.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import pytest

from azr_env.errors import UnknownNameError, UnknownOptionError
from azr_env.types import Mode, Status, Task, Verdict

pytest.importorskip("openenv")
uvicorn = pytest.importorskip("uvicorn")
generic_client = pytest.importorskip("openenv.core.generic_client")
bridge = pytest.importorskip("azr_env.bridges.openenv")

SETTINGS: dict[str, Any] = {"domain": "prime_inversion", "style": "compact"}
ANSWER = {Mode.DEDUCTION: "2", Mode.ABDUCTION: "2", Mode.INDUCTION: "7"}


class Broken:
    """A verifier whose machinery always fails."""

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        return [Verdict(Status.ERROR, "the server died twice") for _ in answers]


@contextmanager
def served(env_id: str, **settings: Any) -> Iterator[str]:
    """A server in a thread of this process; gives its address."""
    app = bridge.application(env_id, **settings)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=30)
    assert not thread.is_alive()


@pytest.mark.parametrize("mode", Mode)
def test_an_episode_is_gymnasiums(mode: Mode) -> None:
    env_id = f"AZR-{mode.capitalize()}-v0"
    env = gym.make(env_id, **SETTINGS)
    with served(env_id, **SETTINGS) as url, bridge.TextClient(base_url=url).sync() as client:
        for text in (ANSWER[mode], "<think>", ""):
            prompt, told = env.reset(seed=3)
            begun = client.reset(seed=3, episode_id="mine")
            assert (begun.observation.text, begun.observation.metadata) == (prompt, told)
            assert (begun.done, begun.reward) == (False, None)
            assert client.state().episode_id == "mine"
            _, reward, terminated, _, info = env.step(text)
            result = client.step(bridge.TextAction(text=text))
            assert (result.reward, result.done, result.observation.text) == (reward, terminated, "")
            assert result.observation.metadata == info
            assert client.state().step_count == 1


def test_a_task_by_its_id_and_the_seeds_of_two_clients() -> None:
    with (
        served("AZR-Deduction-v0", **SETTINGS) as url,
        bridge.TextClient(base_url=url).sync() as one,
        bridge.TextClient(base_url=url).sync() as two,
    ):
        first = one.reset(seed=1).observation
        two.reset(seed=2)
        assert two.reset(task_id=first.metadata["task_id"]).observation.text == first.text
        assert one.step(bridge.TextAction(text="<think>")).reward == -1.0
        assert two.reset(seed=1).observation == first


def test_several_turns() -> None:
    with served("AZR-Deduction-v0", attempts=2, **SETTINGS) as url, bridge.TextClient(base_url=url).sync() as client:
        client.reset(seed=0)
        wrong = client.step(bridge.TextAction(text="0"))
        assert (wrong.done, wrong.reward) == (False, 0.0)
        assert wrong.observation.text
        assert client.step(bridge.TextAction(text="0")).done


def test_clients_at_the_same_time() -> None:
    with served("AZR-Deduction-v0", **SETTINGS) as url:

        def play(seed: int) -> list[str]:
            with bridge.TextClient(base_url=url).sync() as client:
                texts = [client.reset(seed=seed).observation.text]
                for _ in range(5):
                    client.step(bridge.TextAction(text="1"))
                    texts.append(client.reset().observation.text)
                return texts

        def due(seed: int) -> list[str]:
            env = gym.make("AZR-Deduction-v0", **SETTINGS)
            return [env.reset(seed=seed)[0], *(env.reset()[0] for _ in range(5))]

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(play, range(8))) == [due(seed) for seed in range(8)]


def test_mistakes_are_told_and_the_session_lives_on() -> None:
    with served("AZR-Deduction-v0", **SETTINGS) as url, bridge.TextClient(base_url=url).sync() as client:
        with pytest.raises(RuntimeError, match="reset"):
            client.step(bridge.TextAction(text="5"))
        with pytest.raises(RuntimeError, match="no task 'nothing'"):
            client.reset(task_id="nothing")
        with pytest.raises(RuntimeError, match="'difficulty' is unknown"):
            client.reset(difficulty=3)
        client.reset(seed=0)
        assert client.step(bridge.TextAction(text="<think>")).reward == -1.0


@pytest.mark.parametrize("action", [{"text": 5}, {}, {"text": "x" * 1_000_001}, {"txt": "5"}])
def test_what_is_no_action_is_refused_and_the_session_lives_on(action: dict[str, Any]) -> None:
    with served("AZR-Deduction-v0", **SETTINGS) as url, generic_client.GenericEnvClient(base_url=url).sync() as client:
        client.reset(seed=0)
        with pytest.raises(RuntimeError):
            client.step(action)
        assert client.step({"text": "<think>"}).reward == -1.0


@pytest.mark.parametrize("text", ["\ud800", 5, "x" * 1_000_001])
def test_the_client_refuses_what_is_no_action(text: Any) -> None:
    with pytest.raises(ValueError, match="text"):
        bridge.TextAction(text=text)


def test_our_failure_is_done_without_a_reward() -> None:
    settings = {**SETTINGS, "verifier": Broken()}
    with served("AZR-Deduction-v0", **settings) as url, bridge.TextClient(base_url=url).sync() as client:
        client.reset(seed=0)
        result = client.step(bridge.TextAction(text="5"))
        assert (result.reward, result.done, result.observation.truncated) == (None, True, True)
        assert result.metadata["verdict"]["status"] == "error"


def test_a_mistake_in_the_settings_is_told_before_any_client() -> None:
    with pytest.raises(UnknownNameError):
        bridge.application("AZR-Deduction-v0", domain="primes")
    with pytest.raises(UnknownOptionError):
        bridge.application("AZR-Deduction-v0", domain="prime_inversion", max_prim=31)


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("domain=prime_inversion", ("domain", "prime_inversion")),
        ("max_prime=31", ("max_prime", 31)),
        ("tasks=builtin:primes=19-43", ("tasks", "builtin:primes=19-43")),
        ('modes=["deduction"]', ("modes", ["deduction"])),
    ],
)
def test_settings_of_the_command_line(text: str, setting: tuple[str, Any]) -> None:
    assert bridge._setting(text) == setting


@pytest.mark.parametrize(
    "arguments", [["AZR-Deduction-v0", "domain"], ["AZR-None-v0"], ["AZR-Deduction-v0", "domain=x"]]
)
def test_the_command_line_tells_mistakes(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        bridge.main([*arguments, "--port", "0"])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
