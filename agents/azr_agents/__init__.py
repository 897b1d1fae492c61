"""Agents for azr_env: an LLM policy trained by self-play through TRL."""
