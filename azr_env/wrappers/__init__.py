"""Gymnasium wrappers (floor 7)."""

from azr_env.wrappers.tokens import AlphabetTokenizer, ByteTokenizer, Tokenizer, TokenWrapper

__all__ = ["AlphabetTokenizer", "ByteTokenizer", "TokenWrapper", "Tokenizer"]
