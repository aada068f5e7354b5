"""rejax's PPO, DQN, SAC and TD3."""

import jax
import rejax
import side
from flax import linen as nn
from rejax.networks import DeterministicPolicy, QNetwork


def ppo(work):
    """As its configs have it: two networks with an optimizer each, gradients clipped by element."""
    structure, numbers = work["structure"], work["hparams"]
    return {
        "agent_kwargs": {
            "activation": structure["activation"],
            "hidden_layer_sizes": tuple(structure["hidden"]),
        },
        "num_envs": structure["num_envs"],
        "num_steps": structure["rollout_length"],
        "num_epochs": structure["num_epochs"],
        "num_minibatches": structure["num_minibatches"],
        "learning_rate": numbers["lr"],
        "max_grad_norm": numbers["max_grad_norm"],
        "gamma": numbers["gamma"],
        "gae_lambda": numbers["gae_lambda"],
        "clip_eps": numbers["clip_eps"],
        "ent_coef": numbers["entropy_coef"],
        "vf_coef": numbers["value_coef"],
    }


def dqn(work):
    """Its hidden layers are always two of 64; `polyak` is what stays of the target."""
    structure, numbers = work["structure"], work["hparams"]
    return {
        "agent": "DuelingQNetwork" if structure["dueling"] else "QNetwork",
        "agent_kwargs": {
            "activation": {"silu": "swish"}.get(structure["activation"], structure["activation"])
        },
        "num_envs": structure["num_envs"],
        "buffer_size": structure["buffer_size"],
        "fill_buffer": structure["warmup_env_steps"],
        "batch_size": structure["batch_size"],
        "num_epochs": structure["updates_per_iteration"],
        "max_grad_norm": numbers["max_grad_norm"],
        "learning_rate": numbers["lr"],
        "polyak": 1 - numbers["tau"],
        "eps_start": numbers["epsilon_start"],
        "eps_end": numbers["epsilon_end"],
        "exploration_fraction": numbers["exploration_fraction"],
        "gamma": numbers["gamma"],
        "ddqn": structure["double"],
    }


def sac(work):
    """Its warm-up acts by the policy, and its target networks move once for all environments."""
    structure, numbers = work["structure"], work["hparams"]
    return {
        "hidden_layer_sizes": tuple(structure["hidden"]),
        "agent_kwargs": {"activation": structure["activation"]},
        "num_envs": structure["num_envs"],
        "buffer_size": structure["buffer_size"],
        "fill_buffer": structure["warmup_env_steps"],
        "batch_size": structure["batch_size"],
        "num_epochs": structure["updates_per_iteration"],
        "learning_rate": numbers["lr"],
        "gamma": numbers["gamma"],
        "polyak": 1 - numbers["tau"],
    }


def td3(work):
    """Its target networks move with the policy."""
    structure, numbers = work["structure"], work["hparams"]
    config = sac(work)
    del config["hidden_layer_sizes"], config["agent_kwargs"]
    return {
        **config,
        "policy_delay": structure["policy_delay"],
        "exploration_noise": numbers["noise_std"],
        "target_noise": numbers["smoothing_std"],
        "target_noise_clip": numbers["smoothing_clip"],
    }


def resized(algorithm, structure):
    """TD3 with layers of these sizes: those of its own are always two of 64."""
    layers = {
        "hidden_layer_sizes": tuple(structure["hidden"]),
        "activation": getattr(nn, structure["activation"]),
    }
    policy = algorithm.actor
    actor = DeterministicPolicy(policy.action_dim, policy.action_range, **layers)
    return algorithm.replace(actor=actor, critic=QNetwork(**layers))


def main() -> None:
    """Train as the work says; its evaluations are left out of what is timed."""
    work = side.work()
    total = work["total_env_steps"]
    config = {"ppo": ppo, "dqn": dqn, "sac": sac, "td3": td3}[work["agent"]](work)
    algorithm = rejax.get_algo(work["agent"]).create(
        env=work["env"],
        total_timesteps=total,
        eval_freq=total,
        skip_initial_evaluation=True,
        **config,
    )
    if work["agent"] == "td3":
        algorithm = resized(algorithm, work["structure"])
    evaluate = algorithm.eval_callback
    silent = algorithm.replace(eval_callback=lambda algorithm, state, key: ())

    def score(state):
        return evaluate(algorithm, state, jax.random.PRNGKey(1))[1].mean()

    def check(out):
        return score(out[0]) if seeds == 1 else jax.vmap(score)(out[0]).mean()

    key, train, seeds = jax.random.PRNGKey(work["seed"]), silent.train, work["seeds"]
    if seeds > 1:
        key, train = jax.random.split(key, seeds), jax.vmap(silent.train)
    packages = ["rejax", "flax", "optax", "gymnax", "distrax"]
    side.answer_program(train, [key], total * seeds, check, packages)


main()
