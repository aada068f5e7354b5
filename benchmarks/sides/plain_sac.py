"""SAC as one plain JAX loop: gymnax, flax and optax, and arrays as the replay buffer."""

import gymnax
import jax
import jax.numpy as jnp
import optax
import side
from flax import linen as nn

WORK = side.work()
SIZES, NUMBERS = WORK["structure"], WORK["hparams"]
ENVS, BATCH, HIDDEN = SIZES["num_envs"], SIZES["batch_size"], SIZES["hidden"]
ROWS = SIZES["buffer_size"] // ENVS
GAMMA, TAU = NUMBERS["gamma"], NUMBERS["tau"]


class Layers(nn.Module):
    """Dense layers, and one more with `outputs` numbers."""

    outputs: int

    @nn.compact
    def __call__(self, x):
        """From x [..., F] to [..., outputs]."""
        for size in HIDDEN:
            x = nn.relu(nn.Dense(size)(x))
        return nn.Dense(self.outputs)(x)


Twins = nn.vmap(
    Layers, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=None, axis_size=2
)


def main() -> None:
    """Train as the work says."""
    env, params_of_env = gymnax.make(WORK["env"])
    space = env.action_space(params_of_env)
    (size,), bound = space.shape, jnp.asarray(space.high)
    policy, critics = Layers(2 * size), Twins(1)
    optimizer = optax.adam(NUMBERS["lr"])
    iterations = WORK["total_env_steps"] // ENVS
    warmup = SIZES["warmup_env_steps"] // ENVS

    def act(params, obs, key):
        """Actions in [-1, 1], and their log-densities."""
        mean, log_std = jnp.split(policy.apply(params, obs), 2, axis=-1)
        log_std = jnp.clip(log_std, -5.0, 2.0)
        noise = jax.random.normal(key, mean.shape)
        raw = mean + jnp.exp(log_std) * noise
        log_prob = -0.5 * jnp.square(noise) - log_std - 0.5 * jnp.log(2 * jnp.pi)
        log_prob = log_prob - 2 * (jnp.log(2.0) - raw - nn.softplus(-2 * raw))
        return jnp.tanh(raw), log_prob.sum(-1)

    def values(params, obs, action):
        """Of both critics, [2, B]."""
        return critics.apply(params, jnp.concatenate([obs, action], axis=-1))[..., 0]

    def stepped(loss, params, opt_state):
        gradient, seen = jax.grad(loss, has_aux=True)(params)
        changes, opt_state = optimizer.update(gradient, opt_state)
        return optax.apply_updates(params, changes), opt_state, seen

    def learn(loop, key, replay, filled):
        params, target, opt_states = loop
        key_row, key_env, key_next, key_policy = jax.random.split(key, 4)
        row = jax.random.randint(key_row, (BATCH,), 0, filled)
        column = jax.random.randint(key_env, (BATCH,), 0, ENVS)
        batch = {name: x[row, column] for name, x in replay.items()}
        temperature = jnp.exp(params["temperature"])

        next_action, next_log_prob = act(params["actor"], batch["next_obs"], key_next)
        ahead = values(target, batch["next_obs"], next_action).min(0) - temperature * next_log_prob
        aim = batch["reward"] + GAMMA * jnp.where(batch["done"], 0.0, ahead)

        def critic_loss(critic):
            return jnp.square(values(critic, batch["obs"], batch["action"]) - aim).mean(1).sum(), ()

        def actor_loss(actor):
            action, log_prob = act(actor, batch["obs"], key_policy)
            value = values(critic, batch["obs"], action).min(0)
            return jnp.mean(temperature * log_prob - value), log_prob

        def temperature_loss(logarithm):
            return -logarithm * jnp.mean(log_prob - size), ()

        critic, of_critic, _ = stepped(critic_loss, params["critic"], opt_states["critic"])
        actor, of_actor, log_prob = stepped(actor_loss, params["actor"], opt_states["actor"])
        logarithm, of_temperature, _ = stepped(
            temperature_loss, params["temperature"], opt_states["temperature"]
        )
        params = {"critic": critic, "actor": actor, "temperature": logarithm}
        opt_states = {"critic": of_critic, "actor": of_actor, "temperature": of_temperature}
        return (params, optax.incremental_update(critic, target, TAU), opt_states), None

    def iterate(loop, inputs):
        learner, replay, (state, obs, so_far) = loop
        number, key = inputs
        key_act, key_random, key_step, key_learn = jax.random.split(key, 4)
        action, _ = act(learner[0]["actor"], obs, key_act)
        random = jax.random.uniform(key_random, action.shape, minval=-1.0)
        action = jnp.where(number < warmup, random, action)
        next_obs, state, reward, terminated, truncated, _ = jax.vmap(
            env.step, in_axes=(0, 0, 0, None)
        )(jax.random.split(key_step, ENVS), state, bound * action, params_of_env)
        done = terminated | truncated
        so_far = so_far + reward
        ended = jnp.where(done, so_far, 0.0).sum(), done.sum()
        step = {"obs": obs, "action": action, "reward": reward, "done": done, "next_obs": next_obs}
        replay = {name: replay[name].at[number % ROWS].set(step[name]) for name in step}

        def updates(learner):
            keys = jax.random.split(key_learn, SIZES["updates_per_iteration"])
            filled = jnp.minimum(number + 1, ROWS)
            return jax.lax.scan(lambda loop, k: learn(loop, k, replay, filled), learner, keys)[0]

        learner = jax.lax.cond(number >= warmup, updates, lambda learner: learner, learner)
        return (learner, replay, (state, next_obs, jnp.where(done, 0.0, so_far))), ended

    def train(key):
        key_actor, key_critic, key_reset, key = jax.random.split(key, 4)
        obs, state = jax.vmap(env.reset, in_axes=(0, None))(
            jax.random.split(key_reset, ENVS), params_of_env
        )
        action = jnp.zeros((ENVS, size))
        params = {
            "critic": critics.init(key_critic, jnp.concatenate([obs, action], axis=-1)),
            "actor": policy.init(key_actor, obs),
            "temperature": jnp.zeros(()),
        }
        replay = {
            "obs": jnp.zeros((ROWS, *obs.shape)),
            "action": jnp.zeros((ROWS, *action.shape)),
            "reward": jnp.zeros((ROWS, ENVS)),
            "done": jnp.zeros((ROWS, ENVS), bool),
            "next_obs": jnp.zeros((ROWS, *obs.shape)),
        }
        opt_states = {name: optimizer.init(part) for name, part in params.items()}
        learner = params, params["critic"], opt_states
        loop = learner, replay, (state, obs, jnp.zeros(ENVS))
        inputs = jnp.arange(iterations), jax.random.split(key, iterations)
        (learner, *_), ended = jax.lax.scan(iterate, loop, inputs)
        return learner[0], ended

    def check(out):
        tenth = -(-iterations // 10)
        returns, episodes = (x[-tenth:].sum() for x in out[1])
        return returns / episodes

    key = jax.random.key(WORK["seed"])
    amount = iterations * ENVS
    side.answer_program(train, [key], amount, check, ["flax", "optax", "gymnax"])
