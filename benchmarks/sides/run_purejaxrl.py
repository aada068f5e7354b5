"""PureJaxRL's ppo.py, ppo_rnn.py and dqn.py, from a checkout of github.com/luchris429/purejaxrl."""

import sys
import types
from functools import partial

import side

# Packages that it imports for environments and services that are not used here.
for name in ("brax", "brax.envs", "brax.envs.wrappers", "navix", "wandb"):
    sys.modules[name] = types.ModuleType(name)
training = types.ModuleType("brax.envs.wrappers.training")
training.EpisodeWrapper = training.AutoResetWrapper = object  # type: ignore[attr-defined]
sys.modules[training.__name__] = training
sys.modules["brax"].envs = sys.modules["brax.envs"]  # type: ignore[attr-defined]
sys.modules["navix"].Environment = object  # type: ignore[attr-defined]

import jax  # noqa: E402
import numpy as np  # noqa: E402

setattr(jax, "tree_map", jax.tree_util.tree_map)  # It was written for an older JAX.  # noqa: B010
sys.path.insert(0, side.checkout())


def ppo(work):
    """Training by ppo.py, or ppo_rnn.py with a GRU; the mean return of its last tenth."""
    structure, numbers = work["structure"], work["hparams"]
    recurrent = structure["network"] == "gru"
    if recurrent:
        import ppo_rnn as theirs

        use_network(theirs, structure["hidden"])
    else:
        import ppo as theirs
    if jax.default_backend() == "cpu":
        # A batched QR can deadlock on a CPU with few cores: one matrix after the other.
        orthogonal = theirs.orthogonal
        theirs.orthogonal = lambda scale: one_by_one(orthogonal(scale))
    train = theirs.make_train(
        {
            "LR": numbers["lr"],
            "NUM_ENVS": structure["num_envs"],
            "NUM_STEPS": structure["rollout_length"],
            "TOTAL_TIMESTEPS": work["total_env_steps"],
            "UPDATE_EPOCHS": structure["num_epochs"],
            "NUM_MINIBATCHES": structure["num_minibatches"],
            "GAMMA": numbers["gamma"],
            "GAE_LAMBDA": numbers["gae_lambda"],
            "CLIP_EPS": numbers["clip_eps"],
            "ENT_COEF": numbers["entropy_coef"],
            "VF_COEF": numbers["value_coef"],
            "MAX_GRAD_NORM": numbers["max_grad_norm"],
            "ACTIVATION": structure["activation"],
            "ENV_NAME": work["env"],
            "ANNEAL_LR": structure["anneal_lr"],
            "DEBUG": False,
        }
    )

    def check(out):
        metrics = out[
            "metric" if recurrent else "metrics"
        ]  # [updates, T, N], behind the seeds where there are several
        ended, returns = (
            np.asarray(metrics[name]).reshape(-1, *metrics[name].shape[-3:])
            for name in ("returned_episode", "returned_episode_returns")
        )
        last = -(-ended.shape[1] // 10)
        return returns[:, -last:][ended[:, -last:].astype(bool)].mean()

    return train, check


def use_network(theirs, hidden):
    """Give ppo_rnn.py our network: its GRU calls an older flax, and before each output of its own
    there is one more layer."""
    import distrax
    from flax import linen as nn

    (size,) = hidden
    assert size == 128, "the carry of ppo_rnn.py has 128 numbers"

    def dense(outputs, scale):
        return nn.Dense(outputs, kernel_init=theirs.orthogonal(scale))

    class ScannedRNN(nn.Module):
        @partial(
            nn.scan,
            variable_broadcast="params",
            in_axes=0,
            out_axes=0,
            split_rngs={"params": False},
        )
        @nn.compact
        def __call__(self, carry, x):
            """As theirs."""
            ins, resets = x
            return nn.GRUCell(size)(jax.numpy.where(resets[:, None], 0.0, carry), ins)

        @staticmethod
        def initialize_carry(batch_size, hidden_size):
            """As theirs."""
            return jax.numpy.zeros((batch_size, hidden_size))

    class ActorCriticRNN(nn.Module):
        action_dim: int
        config: dict

        @nn.compact
        def __call__(self, hidden, x):
            """As theirs."""
            obs, dones = x
            embedding = nn.relu(dense(size, np.sqrt(2))(obs))
            hidden, embedding = ScannedRNN()(hidden, (embedding, dones))
            pi = distrax.Categorical(logits=dense(self.action_dim, 0.01)(embedding))
            return hidden, pi, dense(1, 1.0)(embedding)[..., 0]

    theirs.ScannedRNN, theirs.ActorCriticRNN = ScannedRNN, ActorCriticRNN


def one_by_one(init):
    """An initializer that `vmap` runs as a loop."""

    def initializer(key, shape, dtype=np.float32):
        return jax.custom_batching.sequential_vmap(lambda key: init(key, shape, dtype))(key)

    return initializer


def dqn(work):
    """Training by dqn.py, and the mean of each environment's latest return over the last tenth."""
    import dqn as theirs

    structure, numbers = work["structure"], work["hparams"]
    envs, total = structure["num_envs"], work["total_env_steps"]
    train = theirs.make_train(
        {
            "NUM_ENVS": envs,
            "BUFFER_SIZE": structure["buffer_size"],
            "BUFFER_BATCH_SIZE": structure["batch_size"],
            "TOTAL_TIMESTEPS": total,
            "EPSILON_START": numbers["epsilon_start"],
            "EPSILON_FINISH": numbers["epsilon_end"],
            "EPSILON_ANNEAL_TIME": total * numbers["exploration_fraction"],
            "TARGET_UPDATE_INTERVAL": structure["target_period"] * envs,
            "LR": numbers["lr"],
            "LEARNING_STARTS": structure["warmup_env_steps"],
            "TRAINING_INTERVAL": envs,
            "LR_LINEAR_DECAY": False,
            "GAMMA": numbers["gamma"],
            "TAU": numbers["tau"],
            "ENV_NAME": work["env"],
        }
    )

    def check(out):
        returns = np.asarray(out["metrics"]["returns"])
        return returns[-(-len(returns) // 10) * -1 :].mean()

    return train, check


def main() -> None:
    """Train as the work says."""
    work = side.work()
    train, check = {"ppo": ppo, "dqn": dqn}[work["agent"]](work)
    key = jax.random.PRNGKey(work["seed"])
    if work["seeds"] > 1:
        train, key = jax.vmap(train), jax.random.split(key, work["seeds"])
    amount = work["total_env_steps"] * work["seeds"]
    side.answer_program(train, [key], amount, check, ["flax", "optax", "gymnax", "distrax"])


main()
