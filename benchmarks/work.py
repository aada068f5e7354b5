"""The work of a row: what a side has to do, and with which settings."""

from typing import Any

Work = dict[str, Any]
"""What a side gets as JSON. `kind` says what to do. Names are those of rljax's configs, which each
side translates. `side` and `seed` are added when the row is measured."""


def training(
    agent: str,
    total_env_steps: int,
    structure: Work,
    hparams: Work,
    env: str = "CartPole-v1",
    seeds: int = 1,
    **more: Any,
) -> Work:
    """Training from beginning to end."""
    return {
        "kind": "training",
        "agent": agent,
        "env": env,
        "seeds": seeds,
        "total_env_steps": total_env_steps,
        "structure": structure,
        "hparams": hparams,
        **more,
    }


def ppo(num_envs: int, rollout_length: int, iterations: int, **changes: Any) -> Work:
    """PPO with PureJaxRL's defaults, but for `changes` in the structure, `lr` or the work."""
    structure = {
        "num_epochs": 4,
        "num_minibatches": 4,
        "hidden": [64, 64],
        "network": "mlp",
        "activation": "tanh",
        "anneal_lr": True,
        "clip_value": True,
    }
    named = [*structure, "curiosity"]
    structure |= {key: changes.pop(key) for key in named if key in changes}
    hparams = {
        "lr": changes.pop("lr", 2.5e-4),
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "clip_eps": 0.2,
        "entropy_coef": 0.01,
        "value_coef": 0.5,
        "max_grad_norm": 0.5,
    }
    structure |= {"num_envs": num_envs, "rollout_length": rollout_length}
    return training("ppo", num_envs * rollout_length * iterations, structure, hparams, **changes)


def dqn(num_envs: int, total_env_steps: int, **more: Any) -> Work:
    """DQN with PureJaxRL's defaults: an update of 128 samples for each step of all environments."""
    structure = {
        "num_envs": num_envs,
        "buffer_size": 10_000,
        "batch_size": 128,
        "warmup_env_steps": 10_000,
        "target_period": 50,
        "hidden": [120, 84],
        "activation": "relu",
    }
    hparams = {
        "lr": 2.5e-4,
        "gamma": 0.99,
        "tau": 1.0,
        "epsilon_start": 1.0,
        "epsilon_end": 0.05,
        "exploration_fraction": 0.5,
    }
    return training("dqn", total_env_steps, structure, hparams, **more)


def r2d2(iterations: int) -> Work:
    """R2D2 on CartPole: sequences of 20 steps behind a burn-in of 10, a GRU of 64."""
    structure = {
        "num_envs": 16,
        "rollout_length": 10,
        "buffer_size": 64_000,
        "batch_size": 64,
        "updates_per_iteration": 2,
        "warmup_env_steps": 3_200,
        "target_period": 100,
        "network": "gru",
        "hidden": [64],
        "activation": "relu",
        "n_step": 5,
        "sequence_length": 20,
        "burn_in": 10,
        "overlap": 10,
    }
    hparams = {
        "lr": 1e-3,
        "gamma": 0.99,
        "tau": 1.0,
        "max_grad_norm": 40.0,
        "epsilon_base": 0.4,
        "epsilon_alpha": 7.0,
        "priority_exponent": 0.9,
        "priority_mix": 0.9,
    }
    return training("r2d2", 160 * (iterations + 20), structure, hparams)


SPREAD = "SimpleSpread-MPE"  # three agents; episodes of 25 steps


def ippo(num_envs: int, rollout_length: int, iterations: int, lr: float) -> Work:
    """PPO for each agent of simple_spread, on shared parameters, with JaxMARL's other defaults.

    With a discount of 0.99 some seeds forget what they have learnt.
    """
    work = ppo(num_envs, rollout_length, iterations, lr=lr, env=SPREAD)
    structure = work["structure"] | {"agent_index": False}
    hparams = work["hparams"] | {"gamma": 0.95}
    return work | {"agent": "ippo", "structure": structure, "hparams": hparams}


def qmix(num_envs: int, iterations: int, updates: int) -> Work:
    """QMIX on simple_spread as JaxMARL's: a layer and a GRU of 64, whole episodes, 32 of them."""
    structure = {
        "num_envs": num_envs,
        "rollout_length": 25,
        "sequence_length": 25,
        "stored_carry": False,
        "buffer_size": 125_000,
        "batch_size": 32,
        "updates_per_iteration": updates,
        "warmup_env_steps": 50 * 25 * num_envs,
        "target_period": 20 * updates,
        "network": "gru",
        "hidden": [64],
        "activation": "relu",
        "anneal_lr": True,
    }
    hparams = {
        "lr": 1e-3,
        "gamma": 0.9,
        "tau": 1.0,
        "max_grad_norm": 25.0,
        "epsilon_start": 1.0,
        "epsilon_end": 0.05,
        "exploration_fraction": 0.5,
    }
    steps = iterations * 25 * num_envs
    return training("qmix", steps, structure, hparams, env=SPREAD)


def variants(work: Work, **changes: Work) -> Work:
    """Training as `work` says, and beside it with each of these changes of the structure."""
    return work | {"kind": "variants", "variants": changes, "runs": 3}


def control(
    agent: str, total_env_steps: int, num_envs: int = 1, updates: int = 1, **more: Any
) -> Work:
    """SAC or TD3 on Pendulum with SB3's defaults, but for the learning rate, warm-up and memory.

    Each update is of 256 samples, and all networks have two layers of 256. The noise of TD3 is
    Gaussian.
    """
    structure = {
        "num_envs": num_envs,
        "buffer_size": 100_000 // num_envs * num_envs,
        "batch_size": 256,
        "updates_per_iteration": updates,
        "warmup_env_steps": 1_024,
        "hidden": [256, 256],
        "activation": "relu",
    }
    hparams = {"lr": 1e-3, "gamma": 0.99, "tau": 0.005}
    if agent == "td3":
        structure["policy_delay"] = 2
        hparams |= {"noise_std": 0.1, "smoothing_std": 0.2, "smoothing_clip": 0.5}
    return training(agent, total_env_steps, structure, hparams, env="Pendulum-v1", **more)


def impala(actors: int, num_envs: int, rollout_length: int, iterations: int) -> Work:
    """IMPALA on Gymnasium's CartPole, with actors that are processes of Ray."""
    return training(
        "impala",
        num_envs * rollout_length * iterations,
        {
            "num_envs": num_envs,
            "rollout_length": rollout_length,
            "hidden": [64, 64],
            "activation": "tanh",
            "anneal_lr": False,
        },
        {
            "lr": 2e-3,
            "gamma": 0.99,
            "rho_clip": 1.0,
            "entropy_coef": 0.01,
            "value_coef": 0.5,
            "max_grad_norm": 40.0,
        },
        env="gymnasium/CartPole-v1",
        actors=actors,
        driver="ray",
    )


# The settings of rejax's configs/gymnax/cartpole.yaml, without the evaluations in between.
REJAX_PPO = ppo(5, 100, 200, num_epochs=5, num_minibatches=5, anneal_lr=False, lr=7.5e-4)
REJAX_DQN = training(
    "dqn",
    100_000,
    {
        "num_envs": 10,
        "buffer_size": 50_000,
        "batch_size": 100,
        "updates_per_iteration": 5,
        "warmup_env_steps": 5_000,
        "target_period": 5,
        "dueling": True,
        "double": True,
        "hidden": [64, 64],
        "activation": "silu",
    },
    {
        "lr": 1e-3,
        "gamma": 0.99,
        "tau": 0.02,
        "epsilon_start": 1.0,
        "epsilon_end": 0.05,
        "exploration_fraction": 0.5,
        "max_grad_norm": 10.0,
    },
)
LAKE = training(
    "q_learning",
    10_240_000,
    {"num_envs": 512, "step_size": "visit_count"},
    {
        "lr": 1.0,
        "gamma": 0.99,
        "epsilon_start": 1.0,
        "epsilon_end": 0.2,
        "exploration_fraction": 0.5,
    },
    env="FrozenLake4x4",
    peer_env_steps=1_000_000,
)
WIDE = {
    "kind": "arithmetic",
    "epochs": [1, 9],
    "runs": 2,
}


def rollouts(
    env: str, num_envs: int, rollouts: int, steps: int = 16_384, **environment: Any
) -> Work:
    """Random actions, in rollouts of so many steps of all environments together."""
    length = steps // num_envs
    sizes = {"num_envs": num_envs, "rollout_length": length, "rollouts": rollouts}
    return {"kind": "rollouts", "env": env, "environment": environment, **sizes}


def replay(rows: int, prioritized: bool) -> Work:
    """Cycles of a replay buffer: add a step of 8 environments, then sample 128 transitions."""
    sizes = {"rows": rows, "num_envs": 8, "batch_size": 128, "cycles": 2_000}
    return {"kind": "replay", "prioritized": prioritized, **sizes}
