"""PPO, SAC and TD3 of Stable-Baselines3, or of sbx, which has the same interface over JAX.

Its PPO is IPPO, too, where each row of its environments is an agent of PettingZoo's simple_spread.
"""

import importlib
import math
import time

import numpy as np
import side
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise

PACKAGES = {
    "sb3": ("stable_baselines3", ["stable-baselines3", "torch", "gymnasium"]),
    "sbx": ("sbx", ["sbx-rl", "jax", "jaxlib", "gymnasium"]),
}


def ppo(work):
    """Its arguments."""
    structure, numbers = work["structure"], work["hparams"]
    hidden, batch = structure["hidden"], structure["num_envs"] * structure["rollout_length"]
    return {
        "learning_rate": lambda left: numbers["lr"] * (left if structure["anneal_lr"] else 1.0),
        "n_steps": structure["rollout_length"],
        "batch_size": work.get("agents", 1) * batch // structure["num_minibatches"],
        "n_epochs": structure["num_epochs"],
        "gae_lambda": numbers["gae_lambda"],
        "clip_range": numbers["clip_eps"],
        # sbx takes the argument, and does not know what to do with it.
        **({"clip_range_vf": numbers["clip_eps"]} if work["side"] == "sb3" else {}),
        "ent_coef": numbers["entropy_coef"],
        "vf_coef": numbers["value_coef"],
        "max_grad_norm": numbers["max_grad_norm"],
        "policy_kwargs": {"net_arch": {"pi": hidden, "vf": hidden}},
    }


def sac(work):
    """Its arguments."""
    structure, numbers = work["structure"], work["hparams"]
    return {
        "learning_rate": numbers["lr"],
        "buffer_size": structure["buffer_size"],
        "learning_starts": structure["warmup_env_steps"],
        "batch_size": structure["batch_size"],
        "tau": numbers["tau"],
        "train_freq": 1,
        "gradient_steps": structure["updates_per_iteration"],
        "policy_kwargs": {"net_arch": structure["hidden"]},
    }


def td3(work):
    """Its arguments."""
    numbers = work["hparams"]
    size = 1  # of an action of Pendulum
    return {
        **sac(work),
        "policy_delay": work["structure"]["policy_delay"],
        "target_policy_noise": numbers["smoothing_std"],
        "target_noise_clip": numbers["smoothing_clip"],
        "action_noise": NormalActionNoise(np.zeros(size), numbers["noise_std"] * np.ones(size)),
    }


AGENTS = {"ppo": ppo, "ippo": ppo, "sac": sac, "td3": td3}


def environments(work):
    """N of them, in rows."""
    number = work["structure"]["num_envs"]
    if work["agent"] == "ippo":
        from several_agents import Spread

        return Spread(number, work["seed"])
    return make_vec_env(work["env"].removeprefix("gymnasium/"), number, seed=work["seed"])


def main() -> None:
    """Train as the work says."""
    work = side.work()
    module, packages = PACKAGES[work["side"]]
    agent, structure = work["agent"], work["structure"]

    def model():
        return getattr(importlib.import_module(module), agent.removeprefix("i").upper())(
            "MlpPolicy",
            environments(work),
            gamma=work["hparams"]["gamma"],
            seed=work["seed"],
            device="cpu" if work["side"] == "sb3" else "auto",
            **AGENTS[agent](work),
        )

    began = time.perf_counter()
    learner = model()
    rows = learner.n_envs  # Of several agents, each is one.
    # The first updates: of PPO after a rollout, of the others after the warm-up.
    least = structure.get("warmup_env_steps", 0) + 8
    learner.learn(rows * structure.get("rollout_length", least))
    first = time.perf_counter() - began
    learner = model()
    began = time.perf_counter()
    learner.learn(work["total_env_steps"] * rows // structure["num_envs"])
    seconds = time.perf_counter() - began
    returns = [episode["r"] for episode in learner.ep_info_buffer]
    if agent not in ("ppo", "ippo"):  # Few and long: the last tenth, as of all sides.
        returns = returns[-math.ceil(len(returns) / 10) :]
    compiling = first if work["side"] == "sbx" else None
    result = sum(returns) / len(returns)
    side.answer(work["total_env_steps"], [seconds], result, compiling, packages)


main()
