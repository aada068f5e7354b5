"""JaxMARL's ippo_ff_mpe.py and qmix_rnn.py, from a checkout of github.com/FLAIROx/JaxMARL, and
random actions through its package's own step, vmapped."""

import sys
import types
from pathlib import Path

import side

# Packages of its scripts for the command line and for logging, which are not used here.
for name in ("hydra", "omegaconf", "wandb"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["hydra"].main = lambda **options: lambda function: function  # type: ignore[attr-defined]
sys.modules["omegaconf"].OmegaConf = object  # type: ignore[attr-defined]

import jax  # noqa: E402
import jax.experimental  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

ENVIRONMENTS = {"SimpleSpread-MPE": "MPE_simple_spread_v3"}
EPISODE = 25  # steps of each episode; its own have one more


def config(work):
    """What both scripts read."""
    structure, numbers = work["structure"], work["hparams"]
    return {
        "ENV_NAME": ENVIRONMENTS[work["env"]],
        "ENV_KWARGS": {},
        "TOTAL_TIMESTEPS": work["total_env_steps"],
        "NUM_ENVS": structure["num_envs"],
        "NUM_STEPS": structure["rollout_length"],
        "LR": numbers["lr"],
        "GAMMA": numbers["gamma"],
        "MAX_GRAD_NORM": numbers["max_grad_norm"],
        "WANDB_MODE": "disabled",
    }


def ippo(work):
    """Training by ippo_ff_mpe.py, its steps, and the mean of each environment's latest return."""
    sys.path.insert(0, str(Path(side.checkout(), "baselines/IPPO")))
    import ippo_ff_mpe as theirs

    jax.experimental.io_callback = lambda *arguments, **options: None  # Its logging.
    structure, numbers = work["structure"], work["hparams"]
    train = theirs.make_train(
        {
            **config(work),
            "UPDATE_EPOCHS": structure["num_epochs"],
            "NUM_MINIBATCHES": structure["num_minibatches"],
            "GAE_LAMBDA": numbers["gae_lambda"],
            "CLIP_EPS": numbers["clip_eps"],
            "ENT_COEF": numbers["entropy_coef"],
            "VF_COEF": numbers["value_coef"],
            "ACTIVATION": structure["activation"],
            "ANNEAL_LR": structure["anneal_lr"],
        }
    )

    def check(out):
        returns = np.asarray(out["metrics"]["returned_episode_returns"])
        return returns[-(-len(returns) // 10) * -1 :].mean()

    return train, work["total_env_steps"], check


def qmix(work):
    """Training by qmix_rnn.py, its steps, and the mean return of its evaluation at the end.

    Its episodes have one step more, which it counts.
    """
    sys.path.insert(0, str(Path(side.checkout(), "baselines/QLearning")))
    import qmix_rnn as theirs

    structure, numbers = work["structure"], work["hparams"]
    (size,) = structure["hidden"]
    assert structure["rollout_length"] == structure["sequence_length"] == EPISODE
    steps = work["total_env_steps"] // EPISODE * (EPISODE + 1)
    settings = {
        **config(work),
        "TOTAL_TIMESTEPS": steps,
        "NUM_STEPS": EPISODE + 1,
        "BUFFER_SIZE": structure["buffer_size"] // EPISODE,  # episodes
        "BUFFER_BATCH_SIZE": structure["batch_size"],
        "HIDDEN_SIZE": size,
        "MIXER_EMBEDDING_DIM": 32,
        "MIXER_HYPERNET_HIDDEN_DIM": 64,
        "MIXER_INIT_SCALE": 1.0,
        "EPS_START": numbers["epsilon_start"],
        "EPS_FINISH": numbers["epsilon_end"],
        "EPS_DECAY": numbers["exploration_fraction"],
        "TARGET_UPDATE_INTERVAL": structure["target_period"] // structure["updates_per_iteration"],
        "TAU": numbers["tau"],
        "NUM_EPOCHS": structure["updates_per_iteration"],
        "LEARNING_STARTS": structure["warmup_env_steps"],
        "LR_LINEAR_DECAY": structure["anneal_lr"],
        "TEST_DURING_TRAINING": True,
        "TEST_INTERVAL": 1.0,
        "TEST_NUM_STEPS": EPISODE + 1,
        "TEST_NUM_ENVS": 64,
    }
    train = theirs.make_train(settings, theirs.env_from_config(settings)[0])
    return train, steps, lambda out: out["runner_state"][2]["returned_episode_returns"]


def rollouts(work):
    """Random actions, with all that a learner needs kept; its steps and the mean team return."""
    import jaxmarl

    env = jaxmarl.make(ENVIRONMENTS[work["env"]])
    envs, length, rollouts = work["num_envs"], work["rollout_length"], work["rollouts"]

    def step(loop, _):
        key, obs, state = loop
        key, key_act, key_step = jax.random.split(key, 3)
        chosen = jax.random.randint(
            key_act, (env.num_agents, envs), 0, env.action_space(env.agents[0]).n
        )
        action = dict(zip(env.agents, chosen, strict=True))
        next_obs, state, reward, done, _ = jax.vmap(env.step)(
            jax.random.split(key_step, envs), state, action
        )
        return (key, next_obs, state), (obs, action, reward, done)

    def rollout(loop, _):
        *carry, _ = loop
        carry, seen = jax.lax.scan(step, tuple(carry), length=length)
        _, _, reward, done = seen
        last = jax.tree.map(lambda x: x[-1], seen)  # Carried, so that all of it has to be made.
        return (*carry, last), (sum(r.sum() for r in reward.values()), done["__all__"].sum())

    def run(key):
        key, key_reset = jax.random.split(key)
        obs, state = jax.vmap(env.reset)(jax.random.split(key_reset, envs))
        shapes = jax.eval_shape(lambda loop: step(loop, None)[1], (key, obs, state))
        last = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.scan(rollout, (key, obs, state, last), length=rollouts)

    def check(out):
        rewards, episodes = out[1]
        return rewards.sum() / episodes.sum()

    return run, envs * length * rollouts, check


def main() -> None:
    """Do what the work says."""
    work = side.work()
    kinds = {"ippo": ippo, "qmix": qmix, "rollouts": rollouts}
    run, steps, check = kinds[work.get("agent", work["kind"])](work)
    key = jax.random.PRNGKey(work["seed"])
    packages = ["jaxmarl", "flax", "optax", "distrax"]
    side.answer_program(run, [key], steps, check, packages)


main()
