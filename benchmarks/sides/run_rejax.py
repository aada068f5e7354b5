"""rejax's PPO and DQN."""

import jax
import rejax
import side


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


def main() -> None:
    """Train as the work says; its evaluations are left out of what is timed."""
    work = side.work()
    total = work["total_env_steps"]
    config = {"ppo": ppo, "dqn": dqn}[work["agent"]](work)
    algorithm = rejax.get_algo(work["agent"]).create(
        env=work["env"],
        total_timesteps=total,
        eval_freq=total,
        skip_initial_evaluation=True,
        **config,
    )
    evaluate = algorithm.eval_callback
    silent = algorithm.replace(eval_callback=lambda algorithm, state, key: ())

    def check(out):
        return evaluate(algorithm, out[0], jax.random.PRNGKey(1))[1].mean()

    key = jax.random.PRNGKey(work["seed"])
    side.answer_program(
        silent.train, [key], total, check, ["rejax", "flax", "optax", "gymnax", "distrax"]
    )


main()
