"""The policy that evaluates: deterministic, undisturbed by padding, and without side effects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest
import torch

from azr_agents.policy import ScriptedPolicy, TransformersPolicy, encode
from azr_env import registry
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.errors import SettingError
from azr_env.parsing import Style
from azr_env.prompts import solver_prompt
from azr_env.protocols import Policy
from azr_env.types import Mode

Load = Callable[[], tuple[Any, Any]]


@pytest.fixture
def prompts(small_primes: PrimeInversionDomain) -> list[str]:
    pairs = [(mode, p, x) for mode in Mode for p in (5, 11, 13) for x in (2, 3)]
    return [solver_prompt(small_primes, small_primes.task(*pair), Style.COMPACT) for pair in pairs] + [
        "propose deduction\nprogram:"
    ]


def test_equal_seeds_give_equal_answers_in_any_batching_order(loaded: Load, prompts: list[str]) -> None:
    model, tokenizer = loaded()
    policy = TransformersPolicy(model, tokenizer)
    assert isinstance(policy, Policy)
    one, two, other = (policy.complete(prompts * 4, 12, [seed] * 4 * len(prompts)) for seed in (1, 1, 2))
    assert one == two != other


def test_greedy_answers_do_not_depend_on_the_batch(loaded: Load, prompts: list[str]) -> None:
    """Left padding must not shift positions."""
    model, tokenizer = loaded()
    together = TransformersPolicy(model, tokenizer, temperature=0.0).complete(prompts, 12, [0] * len(prompts))
    assert together == TransformersPolicy(model, tokenizer, temperature=0.0, batch_size=1).complete(
        prompts, 12, [0] * len(prompts)
    )
    assert together == [greedy(model, tokenizer, prompt) for prompt in prompts]


def greedy(model: Any, tokenizer: Any, prompt: str) -> str:
    """Greedy decoding by hand."""
    ids = tokenizer(prompt)["input_ids"]
    new: list[int] = []
    with torch.no_grad():
        while len(new) < 12 and (not new or new[-1] != tokenizer.eos_token_id):
            new.append(int(model(torch.tensor([ids + new])).logits[0, -1].argmax()))
    text: str = tokenizer.decode(new, skip_special_tokens=True)
    return text


def test_sampling_follows_the_model(loaded: Load) -> None:
    """The first token's frequencies are the model's probabilities: no top-k, no top-p."""
    model, tokenizer = loaded()
    prompt = "propose deduction\nprogram:"
    with torch.no_grad():
        expected = torch.softmax(model(torch.tensor([encode(tokenizer, prompt)])).logits[0, -1], -1)
    texts = TransformersPolicy(model, tokenizer).complete([prompt] * 1500, 1, [0] * 1500)
    ids = torch.tensor([(tokenizer(text)["input_ids"] or [tokenizer.eos_token_id])[0] for text in texts])
    found = torch.bincount(ids, minlength=len(expected))[: len(expected)] / len(texts)
    assert float((found - expected).abs().max()) < 0.05


def test_a_repetition_penalty_that_the_model_brings_is_not_used(loaded: Load, prompts: list[str]) -> None:
    """Qwen's instruct models bring one; training samples without, and so must measuring."""
    model, tokenizer = loaded()
    plain = TransformersPolicy(model, tokenizer, temperature=0.0).complete(prompts, 12, [0] * len(prompts))
    model.generation_config.repetition_penalty = 5.0
    assert TransformersPolicy(model, tokenizer, temperature=0.0).complete(prompts, 12, [0] * len(prompts)) == plain


def test_every_end_token_of_the_model_ends_an_answer(loaded: Load) -> None:
    """As in training; Llama's instruct models have three, and their tokenizer names one."""
    model, tokenizer = loaded()
    prompt = "propose deduction\nprogram:"
    (whole,) = TransformersPolicy(model, tokenizer, temperature=0.0).complete([prompt], 12, [0])
    line = tokenizer.convert_tokens_to_ids("\n")
    assert "\n" in whole[:-1]
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, line]
    (cut,) = TransformersPolicy(model, tokenizer, temperature=0.0).complete([prompt], 12, [0])
    assert cut == whole.partition("\n")[0] + "\n"


def test_random_state_and_mode_are_left_as_they_were(loaded: Load, prompts: list[str]) -> None:
    model, tokenizer = loaded()
    for training in (True, False):
        model.train(training)
        torch.manual_seed(3)
        before = torch.get_rng_state()
        TransformersPolicy(model, tokenizer).complete(prompts, 4, [0] * len(prompts))
        assert torch.equal(torch.get_rng_state(), before)
        assert model.training is training


def test_nothing_asked_nothing_said(loaded: Load) -> None:
    model, tokenizer = loaded()
    assert TransformersPolicy(model, tokenizer).complete([], 4, []) == []
    assert TransformersPolicy(model, tokenizer).complete([], 4, []) == ScriptedPolicy(lambda p, s: "").complete(
        [], 4, []
    )


def test_prompts_go_through_the_chat_template_if_there_is_one(loaded: Load) -> None:
    _, tokenizer = loaded()
    plain = encode(tokenizer, "input: 3")
    assert tokenizer.decode(plain) == "input: 3"
    tokenizer.chat_template = (
        "{% for m in messages %}program:{{ m.content }}{% endfor %}{% if add_generation_prompt %}output:{% endif %}"
    )
    assert tokenizer.decode(encode(tokenizer, "input: 3")) == "program:input: 3output:"


def test_a_scripted_policy_is_told_prompt_and_seed() -> None:
    policy = ScriptedPolicy(lambda prompt, seed: f"{prompt}{seed}")
    assert isinstance(policy, Policy)
    assert policy.complete(["a", "b"], 1, [7, 8]) == ["a7", "b8"]


def test_policies_by_name() -> None:
    policy = registry.policy("embedded:prime_inversion")
    assert isinstance(policy, TransformersPolicy)
    texts = policy.complete(["program: 7\ninput: 2\noutput:"] * 4, 40, range(4))
    assert len(texts) == 4
    with pytest.raises(SettingError, match=r"embedded:nowhere: no tiny base for domain 'nowhere'"):
        registry.policy("embedded:nowhere")
    with pytest.raises(SettingError, match=r"transformers:/nowhere cannot be loaded"):
        registry.policy("transformers:/nowhere")
    assert registry.policy(policy) is policy


def test_a_model_judges_proposals() -> None:
    """The shipped base answers what is proposed, and its solve rate is what the proposer is paid by."""
    env = gym.make(
        "AZR-Deduction-Propose-v0",
        domain="prime_inversion",
        style="compact",
        max_prime=61,
        solver="embedded:prime_inversion",
        solver_samples=16,
        max_new_tokens=64,
    )
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step("59\ninput: 2")
    rate = info["proposal"]["solve_rate"]
    assert terminated
    assert reward == (1 - rate if 0 < rate < 1 else 0)
