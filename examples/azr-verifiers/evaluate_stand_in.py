"""Runs the command line of verifiers against a stand-in for a model server, and checks what it reports.

    python examples/azr-verifiers/evaluate_stand_in.py

The stand-in speaks the protocol of OpenAI's chat completions on the loopback. It knows the answers and gives every
third one right, every third one wrong, and the rest in no form at all; asked again, it is right. So the mean reward is
known beforehand.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gymnasium as gym

from azr_env import prompts
from azr_env.bridges.rows import row_seed
from azr_env.envs.single import TextEnv
from azr_env.types import Mode

SETTINGS = {"domain": "prime_inversion", "style": "compact"}
WORTH = {"right": 1.0, "wrong": -0.5, "malformed": -1.0}


def script(env_id: str, n: int, seed: int, **settings: Any) -> dict[str, tuple[str, str, str]]:
    """For each prompt of a taskset: what the stand-in writes first, what it writes later, and what the first one is."""
    env = gym.make(env_id, **settings).unwrapped
    assert isinstance(env, TextEnv)
    lines = {}
    for index in range(n):
        prompt, info = env.reset(seed=row_seed(env_id, seed, index))
        task = env.source.get(info["task_id"])
        right = prompts.completion_of(env.domain, task.mode, prompts.key(task), env.style)
        wrong = prompts.completion_of(env.domain, task.mode, "0", env.style)
        kind, first = (("right", right), ("wrong", wrong), ("malformed", "<think>what is this?"))[index % 3]
        lines[prompt] = (first, right, kind)
    return lines


@contextmanager
def server(reply: Callable[[list[dict[str, Any]]], str]) -> Iterator[str]:
    """Serves chat completions on a free port of the loopback; gives the base address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = {"role": "assistant", "content": reply(asked["messages"])}
            body = json.dumps(
                {
                    "id": "chatcmpl-0",
                    "object": "chat.completion",
                    "created": 0,
                    "model": asked["model"],
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
                }
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_address[1]}/v1"
        finally:
            httpd.shutdown()
            thread.join()


def evaluate(folder: Path, env_id: str, n: int, seed: int, url: str, **settings: Any) -> list[dict[str, Any]]:
    """Runs ``vf-eval`` on the first ``n`` episodes of a taskset; gives the traces that it wrote."""
    command = [str(Path(sys.executable).with_name("vf-eval")), "azr-verifiers", "-n", str(n), "--model", "stand-in"]
    command += ["--client.base-url", url, "--env.taskset.env-id", env_id, "--env.taskset.seed", str(seed)]
    command += ["--env.taskset.settings", json.dumps(settings), "--no-push", "--no-rich", "--output-dir", str(folder)]
    environment = {**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"vf-eval ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    (path,) = folder.glob("*/traces.jsonl")
    episodes = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [trace for episode in episodes for trace in episode["traces"]]


def run(env_id: str, n: int = 6, seed: int = 0, **settings: Any) -> tuple[float, float]:
    """Mean reward that ``vf-eval`` reports, and the one that the stand-in's answers are worth."""
    lines = script(env_id, n, seed, **settings)

    def reply(messages: list[dict[str, Any]]) -> str:
        first, later, _ = lines[messages[0]["content"]]
        return first if len(messages) == 1 else later

    with tempfile.TemporaryDirectory() as folder, server(reply) as url:
        traces = evaluate(Path(folder), env_id, n, seed, url, **settings)
    assert len(traces) == n
    assert all(trace["ok"] for trace in traces), [trace.get("errors") for trace in traces]
    found = [trace["rewards"]["reward"]["score"] for trace in traces]
    again = settings.get("attempts", 1) > 1
    worth = [1.0 if again else WORTH[kind] for _, _, kind in lines.values()]
    return sum(found) / n, sum(worth) / n


def main() -> int:
    """Evaluates each mode, and one with two attempts; 1 if a mean differs from what is due."""
    jobs: list[tuple[str, dict[str, Any]]] = [(f"AZR-{mode.capitalize()}-v0", SETTINGS) for mode in Mode]
    jobs += [("AZR-Deduction-v0", {**SETTINGS, "attempts": 2}), ("AZR-Abduction-v0", {"domain": "python"})]
    failed = False
    for env_id, settings in jobs:
        found, due = run(env_id, **settings)
        failed |= abs(found - due) > 1e-9
        print(f"{env_id:20} {json.dumps(settings):72} mean reward {found:+.4f}, due {due:+.4f}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
