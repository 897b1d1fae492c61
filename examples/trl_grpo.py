"""Three steps of TRL's own GRPOTrainer on an environment's rows, with the small model that comes with azr-env.

    python examples/trl_grpo.py

Needs the extra `train`. For a model of your own, put its name below, drop `style="compact"`, and turn prompts into
conversations: `dataset.map(lambda row: {"prompt": [{"role": "user", "content": row["prompt"]}]})`.
"""

from __future__ import annotations

import sys
import tempfile

from datasets import Dataset, concatenate_datasets
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from azr_agents import tiny
from azr_env.bridges.trl import reward_function, rows
from azr_env.types import Mode

STEPS = 3
ROWS = 32


def dataset(n: int) -> Dataset:
    """`n` rows of each mode, mixed."""
    ids = [f"AZR-{mode.capitalize()}-v0" for mode in Mode]
    parts = [rows(env_id, n, seed=0, domain="prime_inversion", style="compact", max_prime=61) for env_id in ids]
    return concatenate_datasets([Dataset.from_list(part) for part in parts]).shuffle(seed=0)


def main() -> int:
    """Trains, and prints what TRL logged; 1 if a step had no finite reward."""
    base = tiny.path("prime_inversion")
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            max_steps=STEPS,
            per_device_train_batch_size=96,
            num_generations=8,
            max_completion_length=96,
            learning_rate=1e-4,
            bf16=False,
            gradient_checkpointing=False,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            seed=0,
        )
        trainer = GRPOTrainer(
            model, reward_function(), args=config, train_dataset=dataset(ROWS), processing_class=tokenizer
        )
        trainer.train()
    logged = [entry for entry in trainer.state.log_history if "reward" in entry]
    for entry in logged:
        print(f"step {entry['step']}: mean reward {entry['reward']:+.3f}, spread {entry['reward_std']:.3f}")
    finite = [entry for entry in logged if -1.0 <= entry["reward"] <= 1.0]
    return int(len(finite) != STEPS)


if __name__ == "__main__":
    sys.exit(main())
