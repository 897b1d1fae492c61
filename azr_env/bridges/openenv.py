"""Environments served by OpenEnv, and the client to them: extra ``openenv``.

    python -m azr_env.bridges.openenv AZR-Deduction-v0 --port 8000 domain=prime_inversion max_prime=31

1. A client has an environment of its own, made with the server's settings; the plug-ins' executor serves all.
2. ``reset(seed=...)`` and ``reset(task_id=...)`` mean what they mean in Gymnasium.
3. When our own machinery fails, the episode is done with reward ``None``, never 0, and marked ``truncated``.
4. OpenEnv's plain HTTP routes keep no episode between requests; play through the client, which holds a connection.
5. The server has no password. It listens on the loopback unless it is told otherwise.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sys
from typing import Any

import gymnasium as gym
import uvicorn
from fastapi import FastAPI
from openenv.core.client_types import StepResult
from openenv.core.env_client import EnvClient
from openenv.core.env_server.http_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State
from pydantic import Field

from azr_env.envs.single import MAX_COMPLETION
from azr_env.errors import AzrError, SettingError

__all__ = ["TextAction", "TextClient", "TextObservation", "TextServerEnvironment", "application", "serve"]

CLIENTS = 64
"""Clients that a server takes at once."""


class TextAction(Action):  # type: ignore[misc]
    """A completion. Lone surrogates are refused here, for JSON cannot carry them back."""

    text: str = Field(max_length=MAX_COMPLETION)


class TextObservation(Observation):  # type: ignore[misc]
    """A prompt; ``metadata`` holds Gymnasium's info.

    Attributes:
        text: what to complete, or ``""`` when the episode is done.
        truncated: whether it is done because our own machinery failed.
    """

    text: str = ""
    truncated: bool = False


class TextServerEnvironment(Environment[TextAction, TextObservation, State]):  # type: ignore[misc]
    """One client's environment on the server.

    Args:
        env_id: of the environment.
        **settings: keywords of ``gym.make``.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, env_id: str, **settings: Any) -> None:
        super().__init__()
        # Gymnasium's checker cannot go on after a first reset that was refused, as a client's may be.
        self._env = gym.make(env_id, disable_env_checker=True, **settings)
        self._state = State()

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        task_id: str | None = None,
        **others: Any,
    ) -> TextObservation:
        """Begins an episode.

        Args:
            seed: fixes all episodes from here on.
            episode_id: what :attr:`state` is to call the episode; of no effect otherwise.
            task_id: asks for one task.
            **others: none; each is refused by its name.

        Raises:
            UnknownNameError: no task of that id.
            SettingError: another argument, or a task that does not fit.
        """
        options = others if task_id is None else {**others, "task_id": task_id}
        text, info = self._env.reset(seed=seed, options=options)
        self._state = State(episode_id=episode_id)
        return TextObservation(text=text, metadata=info)

    def step(self, action: TextAction, timeout_s: float | None = None, **others: Any) -> TextObservation:
        """Judges a completion. The environment's own limits hold; ``timeout_s`` and others have no effect."""
        text, reward, terminated, truncated, info = self._env.step(action.text)
        self._state.step_count += 1
        return TextObservation(
            text=text,
            truncated=truncated,
            done=terminated or truncated,
            reward=None if truncated else float(reward),
            metadata=info,
        )

    @property
    def state(self) -> State:
        """The episode's name, and how many steps it has taken."""
        return self._state

    def close(self) -> None:
        """Closes the environment; the shared executor lives on."""
        self._env.close()


class TextClient(EnvClient[TextAction, TextObservation, State]):  # type: ignore[misc]
    """The client: ``with TextClient(base_url=url).sync() as env: env.reset(seed=0)``, and so on."""

    def _step_payload(self, action: TextAction) -> dict[str, Any]:
        return {"text": action.text}

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[TextObservation]:
        reward, done = payload.get("reward"), payload.get("done", False)
        observation = TextObservation(**payload["observation"], reward=reward, done=done)
        return StepResult(observation=observation, reward=reward, done=done, metadata=observation.metadata)

    def _parse_state(self, payload: dict[str, Any]) -> State:
        return State(**payload)


def application(env_id: str, clients: int = CLIENTS, **settings: Any) -> FastAPI:
    """The server's application, for any ASGI server of your own.

    Args:
        env_id: of the environment.
        clients: how many may play at once, >= 1.
        **settings: keywords of ``gym.make``.

    Raises:
        UnknownNameError: a name that no plug-in has.
        SettingError: a setting that cannot work.
    """
    gym.make(env_id, **settings).close()  # a mistake in the settings is told now, and not to the first client

    def environment() -> TextServerEnvironment:
        return TextServerEnvironment(env_id, **settings)

    return create_fastapi_app(environment, TextAction, TextObservation, clients, env_name=env_id)


def serve(env_id: str, host: str = "127.0.0.1", port: int = 8000, **settings: Any) -> None:
    """Serves an environment until SIGINT or SIGTERM, and says where on the standard output once it listens.

    Args:
        env_id: of the environment.
        host: address to listen on.
        port: 0 for any free one.
        **settings: keywords of ``gym.make``.
    """
    app = application(env_id, **settings)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))
    with socket.create_server((host, port)) as listener:
        sys.stdout.write(f"serving {env_id} on http://{host}:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        server.run(sockets=[listener])


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m azr_env.bridges.openenv", description="Serves an environment.")
    parser.add_argument("env_id", help="for example AZR-Deduction-v0")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="keywords of gym.make; values as in JSON")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 for any free one")
    args = parser.parse_intermixed_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn ends first, then raises the signal again
    try:
        serve(args.env_id, args.host, args.port, **dict(map(_setting, args.settings)))
    except KeyboardInterrupt:
        return 0
    except (AzrError, gym.error.Error) as exc:
        parser.exit(2, f"error: {exc}\n")
    return 0


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise SettingError(f"setting {text!r} is not KEY=VALUE, as in domain=prime_inversion")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


if __name__ == "__main__":
    sys.exit(main())
