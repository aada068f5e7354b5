"""What must not depend on how a batch is cut, arranged, spread or rounded."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from states import jit

import rljax
from rljax import collectives, networks
from rljax.actors.rollouts import rollout
from rljax.agents import ppo
from rljax.agents.assembly import see
from rljax.envs import spaces
from rljax.networks import Network, RunningStatistics, layers, modules
from rljax.networks.modules import Quantiles
from rljax.types import Actor, Agent, State, Transition, Update
from rljax.updates import tables

N, T, L = 8, 12, 4  # environments, steps of a rollout, steps of a sequence
GAMMA, GAE_LAMBDA = 0.9, 0.8


class Wander:
    """A noisy walk by one's actions, terminated beyond 2 and truncated after 5 steps."""

    name = "Wander"
    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Discrete(3)

    def _observe(self, position, noise):
        return jnp.stack([position, 30.0 + 10.0 * noise])

    def reset(self, key):
        position, noise = jax.random.normal(key, (2,))
        position = 0.5 * position
        return (position, jnp.int32(0)), self._observe(position, noise)

    def step(self, key, state, action):
        position, time = state
        slip, noise = jax.random.normal(key, (2,))
        position, time = position + 0.7 * (action - 1.0) + 0.3 * slip, time + 1
        terminated = jnp.abs(position) > 2.0
        obs = self._observe(position, noise)
        return (position, time), obs, position, terminated, (time >= 5) & ~terminated


class Parts(NamedTuple):
    """An agent of PPO, and what it is made of."""

    agent: Agent
    actor: Actor
    update: Callable[..., Update]


def parts(make: Callable[..., Agent], *arguments, **options) -> Parts:
    found = []
    assemble = ppo.on_policy

    def capturing(env, *, actor, update, **rest):
        found.extend([actor, update])
        return assemble(env, actor=actor, update=update, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ppo, "on_policy", capturing)
        agent = make(*arguments, **options)
    return Parts(agent, *found)


def penalised(network: str, sequence_length: int, num_epochs: int = 1) -> Parts:
    return parts(
        rljax.ppo,
        Wander(),
        network=network,
        sequence_length=sequence_length,
        num_envs=N,
        rollout_length=T,
        num_epochs=num_epochs,
        num_minibatches=1,
        hidden=(8,),
        objective="kl_penalty",
        normalize_observations=True,
        hparams=ppo.Hparams(gamma=GAMMA, gae_lambda=GAE_LAMBDA),
    )


def acted(made: Parts, state: State, length: int, key=None):
    """What the agent makes of a state by acting without learning: a state, and what it saw."""
    worker, batch = rollout(
        made.agent.env,
        made.actor.policy(state.hparams, jnp.float32(0)),
        lambda carry, done: networks.reset_carry(made.actor, carry, done),
        state.learner.params,
        state.worker,
        state.key if key is None else key,
        length,
    )
    return state.replace(worker=worker), batch


def nudge(x):
    """What makes parameters others: with no gradient, and so that a loop can do the same."""
    return (0.2 * jnp.cos(jnp.arange(jnp.size(x)))).reshape(jnp.shape(x))


@pytest.fixture(scope="module", params=[pytest.param("gru", marks=pytest.mark.long), "mlp"])
def experience(request):
    """The kind of a network, and experience of one with parameters and episodes under way."""
    made = penalised(request.param, L)

    def begin(key):
        state = made.agent.init(key)
        statistics = RunningStatistics(
            jnp.array([0.5, 28.0]), jnp.array([2.0, 150.0]), jnp.float32(100)
        )
        inner = jax.tree.map(lambda x: x + nudge(x), state.learner.params["network"])
        params = {"network": inner, "statistics": statistics}
        state = state.replace(learner=state.learner.replace(params=params))

        def act(before, key):
            state, _ = before
            after, batch = acted(made, state, T, key)
            return (after, state), batch

        (_, state), batches = jax.lax.scan(act, (state, state), jax.random.split(key, 2))
        return state, jax.tree.map(lambda x: x[-1], batches)

    state, batch = jit(begin)(jax.random.key(0))
    inside = np.arange(T) % L != L - 1
    assert batch.truncated[inside].sum() >= 4 and batch.terminated[inside].sum() >= 4
    return request.param, state, batch


def learning(made: Parts) -> Callable[[State, Transition], dict[str, float]]:
    """A function to the metrics of the agent's own update of a batch, with a step size of 0."""

    @jit
    def learn(state: State, batch: Transition):
        update = made.update(replace(state.hparams, lr=0.0), jnp.float32(0))
        learner, key = state.learner, jax.random.key(3)
        return see(update, learner.params, learner.update_state, state.worker, batch, key)[-1]

    def metrics(state: State, batch: Transition) -> dict[str, float]:
        found = learn(state, batch)
        jax.effects_barrier()
        return {name: float(x) for name, x in found.items()}

    return metrics


def recorded_losses(patch) -> list[dict[str, np.ndarray]]:
    """For every gradient step to come: what its loss computes, beside what acting recorded."""
    steps: list[dict] = []
    build = ppo.actor_critic_loss

    def remember(**arrays):
        steps.append({name: np.asarray(x) for name, x in arrays.items()})

    def building(actor_critic, *others):
        inner = build(actor_critic, *others)

        def loss(params, batch, key):
            pi, outputs, values = actor_critic.unroll(params, batch)
            old = batch.extras
            numbers = {
                "log_prob": pi.log_prob(old["raw_action"]),
                "old_log_prob": old["log_prob"],
                "value": values,
                "old_value": old["value"],
            }
            if "old_outputs" in old:
                numbers["kl"] = actor_critic.kl(old["old_outputs"], outputs)
            jax.debug.callback(remember, **numbers)
            return inner(params, batch, key)

        return loss

    patch.setattr(ppo, "actor_critic_loss", building)
    return steps


@pytest.fixture(scope="module")
def nudged(experience):
    """The losses of two gradient steps that each nudge the parameters, and the metrics."""
    kind, state, batch = experience
    clipped_adam = ppo.clipped_adam

    def fixed(*arguments):
        def step(grads, state, params):
            return jax.tree.map(nudge, grads), state

        return optax.GradientTransformation(clipped_adam(*arguments).init, step)

    with pytest.MonkeyPatch.context() as patch:
        steps = recorded_losses(patch)
        patch.setattr(ppo, "clipped_adam", fixed)
        metrics = learning(penalised(kind, L, num_epochs=2))(state, batch)
    return steps, metrics


def test_the_first_gradient_step_sees_what_acting_recorded(nudged):
    first, second = nudged[0]
    assert first["log_prob"].shape == (L, T // L * N)
    np.testing.assert_allclose(first["value"], first["old_value"], rtol=1e-5, atol=2e-6)
    ratio = np.exp(first["log_prob"] - first["old_log_prob"])
    np.testing.assert_allclose(ratio, 1.0, atol=2e-6)
    np.testing.assert_allclose(first["kl"], 0.0, atol=1e-6)
    # The second one has other parameters: the comparison can tell.
    assert np.abs(second["log_prob"] - second["old_log_prob"]).min() > 1e-6
    assert second["kl"].mean() > 3e-3 and np.abs(second["value"] - first["value"]).min() > 1e-6


@pytest.mark.parametrize("lengths", [(1, T), pytest.param((2, 3, L, 6), marks=pytest.mark.slow)])
@pytest.mark.long
def test_losses_do_not_depend_on_the_length_of_sequences(experience, lengths):
    kind, state, batch = experience
    found = [learning(penalised(kind, length))(state, batch) for length in lengths]
    for metrics in found:
        for name in set(metrics) - {"losses/grad_norm"}:
            np.testing.assert_allclose(metrics[name], found[0][name], 1e-4, 1e-6, err_msg=name)
        # The ratio is 1 everywhere, the policy has not moved, and advantages have mean 0.
        for name in ("policy_loss", "approx_kl", "clipfrac", "kl"):
            np.testing.assert_allclose(metrics[f"losses/{name}"], 0.0, atol=1e-6, err_msg=name)
        assert metrics["losses/value_loss"] > 0.1 and metrics["losses/entropy"] > 0.1
    norms = [metrics["losses/grad_norm"] for metrics in found]
    if kind == "gru":  # Gradients flow back through a memory, as far as a sequence goes.
        assert np.abs(np.diff(norms)).min() > 1e-4 * norms[0]
    else:
        np.testing.assert_allclose(norms, norms[0], rtol=1e-4)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(params, obs, carry):
    """Log-probabilities [N, A], values [N] and the next memory, in float64."""
    statistics, layers = params["statistics"], params["network"]["params"]
    scale = np.sqrt(statistics.variance + 1e-8)
    x = np.clip((obs - statistics.mean) / scale, -10, 10)

    def dense(layer, x):
        return x @ layer["kernel"] + layer.get("bias", 0.0)

    def torso(name):
        return np.tanh(dense(layers[name]["Dense_0"], x))

    actor = torso("MLP_0")
    if "GRU_0" in layers:
        gates = layers["GRU_0"]
        seen = np.split(dense(gates["input"], actor), 3, axis=-1)
        held = np.split(carry @ gates["recurrent"], 3, axis=-1)
        reset, kept = (sigmoid(s + h) for s, h in zip(seen[:2], held[:2], strict=True))
        new = np.tanh(seen[2] + reset * (held[2] + gates["bias"]))
        carry = (1 - kept) * new + kept * carry
        actor = critic = carry
    else:
        critic = torso("MLP_1")
    logits = dense(layers["Outputs_0"]["Dense_0"], actor)
    logits = logits - logits.max(axis=-1, keepdims=True)
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return log_probs, dense(layers["value"], critic)[..., 0], carry


def kl_by_hand(old, new):
    return (np.exp(old) * (old - new)).sum(axis=-1)


def losses_by_hand(state, batch: Transition, kl_coef: float) -> dict[str, float]:
    """The metrics of two epochs of one minibatch each, step by step and environment by environment.

    It is told what the environments did and the memory that they began with, and nothing else.
    """
    now, batch, carry = jax.tree.map(
        lambda x: np.asarray(x, np.float64), (state.learner.params, batch, state.worker.carry)
    )
    parameters = [now]
    for _ in range(2):
        moved = jax.tree.map(lambda x: x + np.asarray(nudge(x)), parameters[-1]["network"])
        parameters.append({**now, "network": moved})
    carry = carry if np.size(carry) else np.zeros((N, 1))
    done = (batch.terminated + batch.truncated) > 0

    old, value, before, advantage = [], np.zeros((T, N)), [], np.zeros((T, N))
    next_value = np.zeros((T, N))
    for t in range(T):
        before.append(carry)
        log_probs, value[t], carry = by_hand(now, batch.obs[t], carry)
        old.append(log_probs)
        _, next_value[t], _ = by_hand(now, batch.next_obs[t], carry)
        carry = np.where(done[t][:, None], 0.0, carry)
    for n in range(N):
        later = 0.0
        for t in reversed(range(T)):
            after = 0.0 if batch.terminated[t, n] else next_value[t, n]
            later = 0.0 if done[t, n] else later
            delta = batch.reward[t, n] + GAMMA * after - value[t, n]
            advantage[t, n] = later = delta + GAMMA * GAE_LAMBDA * later
    target = advantage + value
    standard = (advantage - advantage.mean()) / (advantage.std() + 1e-8)

    found: dict[str, list[float]] = {}
    for params in parameters[:2]:
        numbers: dict[str, list] = {}
        for t in range(T):
            if t % L == 0:
                carry = before[t]
            log_probs, values, carry = by_hand(params, batch.obs[t], carry)
            carry = np.where(done[t][:, None], 0.0, carry)
            for n in range(N):
                taken = int(batch.action[t, n])
                log_ratio = log_probs[n, taken] - old[t][n, taken]
                kl = kl_by_hand(old[t][n], log_probs[n])
                of_step = {
                    "policy_loss": -(np.exp(log_ratio) * standard[t, n] - kl_coef * kl),
                    "value_loss": 0.5 * (values[n] - target[t, n]) ** 2,
                    "entropy": -(np.exp(log_probs[n]) * log_probs[n]).sum(),
                    "approx_kl": np.exp(log_ratio) - 1 - log_ratio,
                }
                for name, x in of_step.items():
                    numbers.setdefault(name, []).append(x)
        for name, xs in numbers.items():
            found.setdefault(f"losses/{name}", []).append(float(np.mean(xs)))
    expected = {name: float(np.mean(xs)) for name, xs in found.items()}
    moved_by, carry = [], before[0]
    for t in range(T):
        log_probs, _, carry = by_hand(parameters[2], batch.obs[t], carry)
        carry = np.where(done[t][:, None], 0.0, carry)
        moved_by.append(kl_by_hand(old[t], log_probs))
    expected["losses/kl"] = float(np.mean(moved_by))
    expected["losses/explained_variance"] = 1 - np.var(target - value) / np.var(target)
    return expected


def test_the_penalised_loss_is_that_of_a_loop(experience, nudged):
    _, state, batch = experience
    _, metrics = nudged
    expected = losses_by_hand(state, batch, kl_coef=1.0)
    assert expected["losses/kl"] > 0.01  # The policy has moved, so the penalty counts.
    for name, x in expected.items():
        np.testing.assert_allclose(metrics[name], x, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.long
def test_devices_draw_fractions_apart_and_noise_together(monkeypatch):
    batch_size, updates = 12, 3
    fractions, kernels = {0: [], 1: []}, {0: [], 1: []}

    def in_an_update(rows: int) -> bool:
        """And not in a rollout, where each environment has noise of its own."""
        return rows in (batch_size // 2, batch_size // 2 * 5)  # times 5, each with its fraction

    def remember(kept, device, x):
        kept[int(device)].append(np.asarray(x))

    def quantiles(values, tau):
        if in_an_update(len(tau)):
            jax.debug.callback(partial(remember, fractions), device(), tau)
        return Quantiles(values, tau)

    def product(x, w):
        if in_an_update(len(x)):
            jax.debug.callback(partial(remember, kernels), device(), w)
        return x @ w

    def device():
        return jax.lax.axis_index(collectives.ENVIRONMENTS)

    monkeypatch.setattr(modules, "Quantiles", quantiles)
    monkeypatch.setattr(layers, "product", product)
    agent = rljax.dqn(
        Wander(),
        num_envs=4,
        buffer_size=64,
        batch_size=batch_size,
        warmup_env_steps=16,
        updates_per_iteration=updates,
        hidden=(8,),
        num_atoms=5,
        head="iqn",
        noisy=True,
    )
    spread = rljax.pmap(agent, devices=2)
    jit(lambda key: spread.step(spread.init(key))[1])(jax.random.key(0))
    jax.effects_barrier()
    # Three looks in each update: at the present values of what came next, at the target's, and at
    # what is learnt. Each look has a fraction for each position, and a draw of noise.
    drawn = [np.stack(fractions[i]).ravel() for i in (0, 1)]
    assert [x.size for x in drawn] == [updates * 3 * batch_size // 2 * 5] * 2
    assert len(np.unique(drawn)) == 2 * drawn[0].size
    seen = [{x.tobytes() for x in kernels[i]} for i in (0, 1)]
    assert seen[0] == seen[1]
    assert len(seen[0]) == len(kernels[0]) >= updates * 3 * 3  # layers, none of them seen again


STEP_SIZES = {
    "constant": tables.constant(0.5),
    "harmonic": tables.harmonic(0.5, 4.0),
    "visit_count": tables.visit_count(0.5, 0.7),
}


@pytest.mark.parametrize("name", STEP_SIZES)
def test_a_table_learns_the_same_from_its_visits_however_they_are_arranged(make_batch, name):
    rng = np.random.default_rng(0)
    visits = 24
    # Few cells, so that most are visited several times and some never.
    rounds = [
        (rng.integers(5, size=visits), rng.integers(2, size=visits), rng.normal(size=visits))
        for _ in range(3)
    ]
    start = jnp.asarray(rng.normal(size=(6, 3)), jnp.float32)

    def learn(make, *shape):
        update = make(STEP_SIZES[name])
        params, state = start, update.init(start, jax.random.key(0))
        for obs, action, target in rounds:
            trace = np.zeros((visits, 6, 3), np.float32)
            trace[np.arange(visits), obs, action] = 1.0  # lambda 0: none but the cell itself
            batch = make_batch(
                *shape,
                obs=jnp.asarray(obs.reshape(shape)),
                action=jnp.asarray(action.reshape(shape)),
                extras={
                    "target": jnp.asarray(target.reshape(shape), jnp.float32),
                    "trace": jnp.asarray(trace.reshape(*shape, 6, 3)),
                },
            )
            params, state, *_ = update.apply(params, state, batch, jax.random.key(0))
        return params, state

    @jit
    def arranged():
        shapes = ((1, visits), (visits, 1), (4, 6))
        steps = (tables.table_step, tables.trace_step)
        return [learn(make, *shape) for make in steps for shape in shapes]

    found = arranged()
    expected, (counts, updates) = found[0]
    assert updates == 3 and counts.min() == 0 and counts.max() == 3
    assert np.abs(expected - start).max() > 0.1
    for table, (of_cells, _) in found:
        np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(of_cells, counts)


def as_tensor_cores_do(net: Network) -> Network:
    """`net` with what its products multiply rounded to TF32: 10 explicit bits of mantissa.

    That is what recent GPUs may do to float32 unless JAX is asked for "highest" precision. Sums
    stay float32.
    """

    def rounded(x):
        return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=10)

    def before_products(call, args, kwargs, context):
        if isinstance(context.module, nn.Dense) and context.method_name == "__call__":
            args = (rounded(args[0]),)
        return call(*args, **kwargs)

    def apply(params, features, carry, key):
        def round_kernel(path, x):
            return rounded(x) if path[-1].key == "kernel" else x

        params = jax.tree_util.tree_map_with_path(round_kernel, params)
        with nn.intercept_methods(before_products):
            return net.apply(params, features, carry, key)

    return net._replace(apply=apply)


@pytest.mark.long
def test_products_rounded_as_a_gpu_may_leave_the_ratio_near_1(cartpole, monkeypatch):
    exact = networks.actor_critic(cartpole).net
    make = partial(
        rljax.ppo,
        cartpole,
        num_envs=32,
        rollout_length=32,
        num_epochs=1,
        num_minibatches=1,
        normalize_observations=True,
    )
    made = {
        "float32": parts(make, network=exact),
        "tf32": parts(make, network=as_tensor_cores_do(exact)),
    }
    steps = recorded_losses(monkeypatch)

    def ready(key):
        state = made["float32"].agent.init(key)
        # As sure of its actions as a policy that has learnt: its last layer begins near 0.
        inner = state.learner.params["network"]
        layers = inner["params"]
        kernel = 2000.0 * layers["Outputs_0"]["Dense_0"]["kernel"]
        outputs = {"Dense_0": {**layers["Outputs_0"]["Dense_0"], "kernel": kernel}}
        inner = {**inner, "params": {**layers, "Outputs_0": outputs}}
        # Deviations of CartPole's observations, about as such a policy sees them.
        spread = jnp.square(jnp.array([0.1, 0.5, 0.1, 0.8]))
        statistics = RunningStatistics(jnp.zeros(4), spread, jnp.float32(1e4))
        learner = state.learner.replace(params={"network": inner, "statistics": statistics})
        return state.replace(learner=learner)

    def both(key):
        state = ready(key)
        return state, {name: acted(one, state, 32)[1] for name, one in made.items()}

    state, batches = jit(both)(jax.random.key(0))
    learns = learning(made["tf32"])
    # As sure as one that has learnt, and of more than one mind: between 0 and log(2).
    assert batches["float32"].extras["log_prob"].min() < -3.0
    off, kl = {}, {}
    for name, batch in batches.items():
        metrics = learns(state, batch)
        off[name] = np.abs(np.expm1(steps[-1]["log_prob"] - steps[-1]["old_log_prob"]))
        kl[name] = abs(metrics["losses/approx_kl"])
        assert 0.2 < metrics["losses/entropy"] < 0.6 and metrics["losses/clipfrac"] == 0
    # Measured, with float32 on one side and TF32 on the other: the ratio is off by 0.006 at most
    # and 0.00035 on average, which is a KL of 2e-7; clipping begins at 0.2.
    assert 1e-4 < off["float32"].max() < 0.02 and off["float32"].mean() < 1e-3
    assert kl["float32"] < 1e-5
    # With the same rounding on both sides the ratio is 1, as without any.
    assert off["tf32"].max() < 2e-6 and kl["tf32"] < 1e-9
