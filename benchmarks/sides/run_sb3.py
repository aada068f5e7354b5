"""PPO of Stable-Baselines3, or of sbx, which has the same interface over JAX."""

import importlib
import time

import side
from stable_baselines3.common.env_util import make_vec_env

PACKAGES = {
    "sb3": ("stable_baselines3", ["stable-baselines3", "torch", "gymnasium"]),
    "sbx": ("sbx", ["sbx-rl", "jax", "jaxlib", "gymnasium"]),
}


def main() -> None:
    """Train as the work says."""
    work = side.work()
    module, packages = PACKAGES[work["side"]]
    structure, numbers = work["structure"], work["hparams"]
    batch = structure["num_envs"] * structure["rollout_length"]

    def model():
        hidden, env = structure["hidden"], work["env"].removeprefix("gymnasium/")
        return importlib.import_module(module).PPO(
            "MlpPolicy",
            make_vec_env(env, structure["num_envs"], seed=work["seed"]),
            learning_rate=lambda left: numbers["lr"] * (left if structure["anneal_lr"] else 1.0),
            n_steps=structure["rollout_length"],
            batch_size=batch // structure["num_minibatches"],
            n_epochs=structure["num_epochs"],
            gamma=numbers["gamma"],
            gae_lambda=numbers["gae_lambda"],
            clip_range=numbers["clip_eps"],
            # sbx takes the argument, and does not know what to do with it.
            **({"clip_range_vf": numbers["clip_eps"]} if work["side"] == "sb3" else {}),
            ent_coef=numbers["entropy_coef"],
            vf_coef=numbers["value_coef"],
            max_grad_norm=numbers["max_grad_norm"],
            policy_kwargs={"net_arch": {"pi": hidden, "vf": hidden}},
            seed=work["seed"],
            device="cpu" if work["side"] == "sb3" else "auto",
        )

    began = time.perf_counter()
    model().learn(batch)
    first = time.perf_counter() - began
    learner = model()
    began = time.perf_counter()
    learner.learn(work["total_env_steps"])
    seconds = time.perf_counter() - began
    returns = [episode["r"] for episode in learner.ep_info_buffer]
    compiling = first if work["side"] == "sbx" else None
    side.answer(learner.num_timesteps, [seconds], sum(returns) / len(returns), compiling, packages)


main()
