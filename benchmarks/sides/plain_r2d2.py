"""R2D2 as one plain JAX loop: gymnax, flax and optax, and arrays as the replay buffer."""

import gymnax
import jax
import jax.numpy as jnp
import optax
import side
from flax import linen as nn

WORK = side.work()
SIZES, NUMBERS = WORK["structure"], WORK["hparams"]
ENVS, ROLLOUT, N_STEP = SIZES["num_envs"], SIZES["rollout_length"], SIZES["n_step"]
BURN_IN, LENGTH = SIZES["burn_in"], SIZES["sequence_length"]
WINDOW = BURN_IN + LENGTH + N_STEP
ROWS = SIZES["buffer_size"] // ENVS
STARTS = ROWS // ROLLOUT  # A window begins where a rollout did, with the carry of then.
(UNITS,) = SIZES["hidden"]
GAMMA = NUMBERS["gamma"]
IMPORTANCE = 0.4


class Network(nn.Module):
    """A layer, a GRU, and dueling values."""

    num_actions: int

    @nn.compact
    def __call__(self, carry, obs):
        """Carry [B, H] and obs [B, F] to the next carry and values [B, A]."""
        x = nn.relu(nn.Dense(UNITS)(obs))
        carry, x = nn.GRUCell(UNITS)(carry, x)
        advantage = nn.Dense(self.num_actions)(x)
        return carry, nn.Dense(1)(x) + advantage - advantage.mean(-1, keepdims=True)


def rescaled(x):
    """h of the paper."""
    return jnp.sign(x) * (jnp.sqrt(jnp.abs(x) + 1) - 1) + 1e-3 * x


def restored(x):
    """Its inverse."""
    root = jnp.sqrt(1 + 4e-3 * (jnp.abs(x) + 1 + 1e-3))
    return jnp.sign(x) * (((root - 1) / 2e-3) ** 2 - 1)


def main() -> None:
    """Train as the work says."""
    env, params_of_env = gymnax.make(WORK["env"])
    network = Network(env.action_space(params_of_env).n)
    optimizer = optax.chain(
        optax.clip_by_global_norm(NUMBERS["max_grad_norm"]), optax.adam(NUMBERS["lr"], eps=1e-3)
    )
    places = jnp.arange(ENVS) / (ENVS - 1)
    epsilons = NUMBERS["epsilon_base"] ** (1 + NUMBERS["epsilon_alpha"] * places)
    iterations = WORK["total_env_steps"] // (ENVS * ROLLOUT)
    warmup = SIZES["warmup_env_steps"] // (ENVS * ROLLOUT)

    def act(params, loop, key):
        state, obs, carry, so_far = loop
        key_act, key_random, key_step = jax.random.split(key, 3)
        next_carry, values = network.apply(params, carry, obs)
        random = jax.random.randint(key_random, (ENVS,), 0, values.shape[-1])
        explores = jax.random.uniform(key_act, (ENVS,)) < epsilons
        action = jnp.where(explores, random, values.argmax(-1))
        next_obs, state, reward, terminated, truncated, _ = jax.vmap(
            env.step, in_axes=(0, 0, 0, None)
        )(jax.random.split(key_step, ENVS), state, action, params_of_env)
        done = terminated | truncated
        so_far = so_far + reward
        ended = jnp.where(done, so_far, 0.0).sum(), done.sum()
        next_carry = jnp.where(done[:, None], 0.0, next_carry)
        step = {"obs": obs, "action": action, "reward": reward, "done": done}
        return (state, next_obs, next_carry, jnp.where(done, 0.0, so_far)), (step, ended)

    def unrolled(params, carry, obs, done):
        def step(carry, inputs):
            obs, done = inputs
            carry, values = network.apply(params, carry, obs)
            return jnp.where(done[:, None], 0.0, carry), values

        return jax.lax.scan(step, carry, (obs, done))

    def targets(values, target_values, reward, done):
        """Of the first L steps of values [L + n, B, A]."""
        best = values[N_STEP:].argmax(-1)[..., None]
        last = restored(jnp.take_along_axis(target_values[N_STEP:], best, -1)[..., 0])
        for k in reversed(range(N_STEP)):
            inside = slice(k, k + LENGTH)
            last = reward[inside] + GAMMA * jnp.where(done[inside], 0.0, last)
        return rescaled(last)

    def loss(params, target, batch, weight):
        learnt = {name: x[BURN_IN:] for name, x in batch.items() if name != "carry"}

        def values(params):
            carry, _ = unrolled(
                params, batch["carry"], batch["obs"][:BURN_IN], batch["done"][:BURN_IN]
            )
            carry = jax.lax.stop_gradient(carry)
            return unrolled(params, carry, learnt["obs"], learnt["done"])[1]

        online = values(params)
        aim = targets(online, values(target), learnt["reward"], learnt["done"])
        chosen = learnt["action"][:LENGTH, :, None]
        error = jnp.take_along_axis(online[:LENGTH], chosen, -1)[..., 0]
        error = error - jax.lax.stop_gradient(aim)
        size, mix = jnp.abs(error), NUMBERS["priority_mix"]
        priority = mix * size.max(0) + (1 - mix) * size.mean(0)
        return jnp.mean(weight * jnp.square(error)), priority

    def learn(loop, key, cursor):
        params, target, opt_state, replay, priorities, count = loop
        # A window is whole if it does not reach the place that is written next.
        age = (cursor - jnp.arange(STARTS) * ROLLOUT) % ROWS
        age = jnp.where(age == 0, ROWS, age)
        whole = (age >= WINDOW)[:, None] & (priorities > 0)
        chances = jnp.where(whole, priorities ** NUMBERS["priority_exponent"], 0.0).ravel()
        sums = jnp.cumsum(chances)
        points = jax.random.uniform(key, (SIZES["batch_size"],)) * sums[-1]
        picked = jnp.minimum(jnp.searchsorted(sums, points, side="right"), sums.size - 1)
        start, which = picked // ENVS, picked % ENVS
        rows = (start * ROLLOUT + jnp.arange(WINDOW)[:, None]) % ROWS
        batch = {name: x[rows, which] for name, x in replay.items() if name != "carry"}
        batch["carry"] = replay["carry"][start, which]
        weight = (chances[picked] + 1e-9) ** -IMPORTANCE
        weight = weight / weight.max()
        gradient, priority = jax.grad(loss, has_aux=True)(params, target, batch, weight)
        changes, opt_state = optimizer.update(gradient, opt_state)
        params = optax.apply_updates(params, changes)
        priorities = priorities.at[start, which].set(priority + 1e-6)
        count = count + 1
        target = jax.tree.map(
            lambda new, old: jnp.where(count % SIZES["target_period"] == 0, new, old),
            params,
            target,
        )
        return (params, target, opt_state, replay, priorities, count), None

    def iterate(loop, inputs):
        learner, worker = loop
        number, key = inputs
        params, target, opt_state, replay, priorities, count = learner
        key_act, key_learn = jax.random.split(key)
        carry = worker[2]
        worker, (steps, ended) = jax.lax.scan(
            lambda w, k: act(params, w, k), worker, jax.random.split(key_act, ROLLOUT)
        )
        start = number % STARTS
        replay = {
            **{
                name: jax.lax.dynamic_update_slice_in_dim(
                    replay[name], steps[name], start * ROLLOUT, 0
                )
                for name in steps
            },
            "carry": replay["carry"].at[start].set(carry),
        }
        priorities = priorities.at[start].set(jnp.maximum(priorities.max(), 1.0))
        cursor = (start + 1) * ROLLOUT % ROWS
        learner = params, target, opt_state, replay, priorities, count

        def updates(learner):
            keys = jax.random.split(key_learn, SIZES["updates_per_iteration"])
            return jax.lax.scan(lambda loop, k: learn(loop, k, cursor), learner, keys)[0]

        learner = jax.lax.cond(number >= warmup, updates, lambda learner: learner, learner)
        return (learner, worker), jax.tree.map(jnp.sum, ended)

    def train(key):
        key_init, key_reset, key = jax.random.split(key, 3)
        obs, state = jax.vmap(env.reset, in_axes=(0, None))(
            jax.random.split(key_reset, ENVS), params_of_env
        )
        carry = jnp.zeros((ENVS, UNITS))
        params = network.init(key_init, carry, obs)
        replay = {
            "obs": jnp.zeros((ROWS, *obs.shape), obs.dtype),
            "action": jnp.zeros((ROWS, ENVS), jnp.int32),
            "reward": jnp.zeros((ROWS, ENVS)),
            "done": jnp.zeros((ROWS, ENVS), bool),
            "carry": jnp.zeros((STARTS, ENVS, UNITS)),
        }
        learner = (
            params,
            params,
            optimizer.init(params),
            replay,
            jnp.zeros((STARTS, ENVS)),
            jnp.int32(0),
        )
        worker = state, obs, carry, jnp.zeros(ENVS)
        inputs = jnp.arange(iterations), jax.random.split(key, iterations)
        (learner, _), ended = jax.lax.scan(iterate, (learner, worker), inputs)
        return learner[0], ended

    def check(out):
        returns, episodes = (x[-(-iterations // 10) * -1 :].sum() for x in out[1])
        return returns / episodes

    key = jax.random.key(WORK["seed"])
    amount = iterations * ENVS * ROLLOUT
    side.answer_program(train, [key], amount, check, ["flax", "optax", "gymnax"])
