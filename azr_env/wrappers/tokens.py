"""A text environment as a token-level one, for libraries that know numbers only (floor 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from azr_env.envs.game import whole
from azr_env.envs.single import MAX_COMPLETION, MAX_PROMPT
from azr_env.errors import SettingError


class Tokenizer(Protocol):
    """Text to token ids and back; the tokenizers of Hugging Face have these members."""

    @property
    def eos_token_id(self) -> int | None:
        """Id of the end token."""
        ...

    def __len__(self) -> int:
        """How many ids there are: 0 to this number less one."""
        ...

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Ids of a text."""
        ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Text of any ids."""
        ...


class ByteTokenizer:
    """One token per byte of UTF-8, ids 0 to 255, and the end token, 256. Bytes that are no UTF-8 decode to U+FFFD."""

    eos_token_id = 256

    def __len__(self) -> int:
        return 257

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """The bytes of ``text``, a lone surrogate as ``?``; never an end token."""
        return list(text.encode("utf-8", errors="replace"))

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of the ids; the end token is always left out."""
        return bytes(k for k in token_ids if k != self.eos_token_id).decode("utf-8", errors="replace")


class AlphabetTokenizer:
    """One token per character of an alphabet, in its order, and the end token as the last id.

    Args:
        alphabet: the characters, each once. Text is encoded without those that it does not have.

    Raises:
        SettingError: no character, or one of them twice.
    """

    def __init__(self, alphabet: str) -> None:
        if not alphabet or len(set(alphabet)) < len(alphabet):
            raise SettingError(f"alphabet={alphabet!r}; give at least one character, and each of them once")
        self._ids = {character: k for k, character in enumerate(alphabet)}
        self._characters = [*alphabet, ""]
        self.eos_token_id = len(alphabet)

    def __len__(self) -> int:
        return len(self._characters)

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Ids of the characters that are in the alphabet; never an end token."""
        return [self._ids[character] for character in text if character in self._ids]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of the ids; the end token is always left out."""
        return "".join(self._characters[k] for k in token_ids)


class TokenWrapper(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Writes the completions of a text environment token by token.

    The action is the next token. The observation holds the last ``max_prompt_tokens + max_answer_tokens`` token ids of
    the prompt and the text so far, right-aligned; the end token pads on the left.

    A step has reward 0 until the text is complete: by the end token, or by ``max_answer_tokens`` tokens without it.
    Then the text is sent as it stands, and graded like any other; reward, ``terminated``, ``truncated`` and ``info`` of
    that step are the text environment's. If its episode goes on (several attempts), its next observation takes the
    place of the prompt, and the next text begins; at its end the observation is the prompt with what was written.

    ``info`` always holds ``action_mask``, and at the step that sends also ``completion``, the text.

    For a vector, ``gym.make_vec(ID, vectorization_mode="sync", wrappers=[functools.partial(TokenWrapper, ...)])``, or
    ``"async"``: token ids cross shared memory, as texts cannot.

    Args:
        env: an environment with texts as observations and actions.
        max_prompt_tokens: how many tokens of a prompt are seen, >= 1; of a longer one the last, with a warning.
        max_answer_tokens: most tokens of one text, >= 1, the end token not counted.
        tokenizer: any :class:`Tokenizer`; ``None`` for one token per byte. A spec with a tokenizer has no JSON.
        alphabet: instead of ``tokenizer``, one token per character of it; see :class:`AlphabetTokenizer`.
        allowed: the characters that the mask allows; ``None`` for all. Any token can still be written.

    Raises:
        SettingError: an environment of other spaces, or a setting that cannot work.
    """

    def __init__(
        self,
        env: gym.Env[str, str],
        max_prompt_tokens: int = 2048,
        max_answer_tokens: int = 256,
        tokenizer: Tokenizer | None = None,
        alphabet: str | None = None,
        allowed: str | None = None,
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self,
            max_prompt_tokens=max_prompt_tokens,
            max_answer_tokens=max_answer_tokens,
            tokenizer=tokenizer,
            alphabet=alphabet,
            allowed=allowed,
        )
        super().__init__(env)
        for space in (env.observation_space, env.action_space):
            if not isinstance(space, gym.spaces.Text):
                raise SettingError(f"TokenWrapper is for environments of texts; this one has {space}")
        for name, text in (("alphabet", alphabet), ("allowed", allowed)):
            if text is not None and not isinstance(text, str):
                raise SettingError(f"{name}={text!r}; give a string of characters")
        if isinstance(tokenizer, str | int | float):
            raise SettingError(f"tokenizer={tokenizer!r}; give the object, as AutoTokenizer.from_pretrained makes it")
        if tokenizer is not None and alphabet is not None:
            raise SettingError("give a tokenizer or an alphabet, not both")
        self.max_prompt_tokens = whole(max_prompt_tokens, "max_prompt_tokens", 1, MAX_PROMPT)
        self.max_answer_tokens = whole(max_answer_tokens, "max_answer_tokens", 1, MAX_COMPLETION)
        self.tokenizer: Tokenizer = tokenizer or (ByteTokenizer() if alphabet is None else AlphabetTokenizer(alphabet))
        if self.tokenizer.eos_token_id is None:
            raise SettingError("the tokenizer has no eos_token_id; a policy needs the end token to end its text")
        self.end = self.tokenizer.eos_token_id
        vocabulary, seen = len(self.tokenizer), max_prompt_tokens + max_answer_tokens
        self.action_space = gym.spaces.Discrete(vocabulary)
        self.observation_space = gym.spaces.Box(0, vocabulary - 1, (seen,), dtype=np.int64)
        self._allowed = None if allowed is None else self._only(allowed)
        self._window: NDArray[np.int64] = np.full(seen, self.end, dtype=np.int64)
        self._written: list[int] = []
        self._running = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Resets the text environment, with its seed and options, and shows its prompt."""
        prompt, info = self.env.reset(seed=seed, options=options)
        self._running = True
        self._begin(prompt)
        return self._window.copy(), info | {"action_mask": self.action_masks()}

    def step(self, action: np.int64) -> tuple[NDArray[np.int64], float, bool, bool, dict[str, Any]]:
        """Writes one token, and sends the text if that completes it.

        Raises:
            gymnasium.error.ResetNeeded: before :meth:`reset`, or after the episode's end.
            SettingError: the action is no token id.
        """
        if not self._running:
            raise gym.error.ResetNeeded("call reset() before step(): no episode is under way")
        if not self.action_space.contains(action):
            raise SettingError(f"an action is a token id from 0 to {len(self.tokenizer) - 1}, not {action!r}")
        token = int(action)
        self._window = np.append(self._window[1:], token)
        if token != self.end:
            self._written.append(token)
            if len(self._written) < self.max_answer_tokens:
                return self._window.copy(), 0.0, False, False, {"action_mask": self.action_masks()}
        completion = self.tokenizer.decode(self._written, skip_special_tokens=True)
        text, reward, terminated, truncated, info = self.env.step(completion)
        self._running = not (terminated or truncated)
        if self._running:
            self._begin(text)
        info = info | {"completion": completion, "action_mask": self.action_masks()}
        return self._window.copy(), float(reward), terminated, truncated, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Which tokens may come next, by id; never none of them.

        With ``allowed``: the tokens that consist of its characters, and the end token once something is written.
        Without: all.
        """
        if self._allowed is None:
            return np.ones(len(self.tokenizer), dtype=np.bool_)
        mask = self._allowed.copy()
        mask[self.end] = bool(self._written)
        return mask

    def _begin(self, prompt: str) -> None:
        """Shows a prompt, with nothing written yet."""
        readable = prompt.encode("utf-8", errors="replace").decode("utf-8")  # tokenizers may refuse lone surrogates
        tokens = self.tokenizer.encode(readable, add_special_tokens=False)
        if len(tokens) > self.max_prompt_tokens:
            gym.logger.warn(f"a prompt is cut to its last {self.max_prompt_tokens} tokens: raise max_prompt_tokens")
        self._window = np.full_like(self._window, self.end)
        kept = tokens[-self.max_prompt_tokens :]
        self._window[len(self._window) - len(kept) :] = kept
        self._written = []

    def _only(self, allowed: str) -> NDArray[np.bool_]:
        """The tokens that decode to characters of ``allowed`` and to nothing else."""
        texts = [self.tokenizer.decode([token], skip_special_tokens=True) for token in range(len(self.tokenizer))]
        missing = sorted(set(allowed) - set(texts))
        if missing or not allowed:
            lacking = f"; the tokenizer has none for {missing[0]!r}" if missing else ""
            raise SettingError(f"allowed={allowed!r}: give characters that have a token of their own{lacking}")
        return np.array([bool(text) and set(text) <= set(allowed) for text in texts])
