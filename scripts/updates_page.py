"""Write docs/updates.md: every update, with the fields of the batch that it reads and writes.

    python scripts/updates_page.py

The fields are measured. Each update is built once, as in `examples`, and traced on a batch that has
all fields. It reads a field if something that it changes depends on that field. It writes a field
if it returns something else there than it was given.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from agent_pages import table
from jax.interpreters import partial_eval

import rljax
from rljax import actors, networks, updates
from rljax.envs.probes import Signals
from rljax.types import Batch, Extras, PerEnvironment, StateObs, Transition
from rljax.updates.tables import constant

PAGE = Path(__file__).parent.parent / "docs" / "updates.md"
T, N = 4, 2  # steps and environments of the batch
INNER = "inner"  # what the update, or loss, inside another one reads, writes and reports
HEAD = """# Updates

All updates of `rljax.updates`, with what they read and write. `scripts/updates_page.py` writes this
page from the code. [Composition](composition.md) explains how updates are combined.

- The fields of a batch are `obs`, `action`, `reward`, `terminated`, `truncated` and `next_obs`, all
  with the axes [T, N, ...]. Every other field is in `extras`.
- *parameters* means that the update reads or changes the parameters themselves.
- A rollout records `carry`, the recurrent state before each step. A policy records `raw_action` and
  `log_prob`; with `actors.recording_values` it records `action_values`. A search records
  `search_policy`. A prioritized replay buffer writes `weight` and reads `priority`.
"""


class Example(NamedTuple):
    """An update as it can be built, and what it is given."""

    update: updates.Update
    params: Any
    batch: Batch


def batch(obs: jax.Array, carry: jax.Array, **extras: jax.Array) -> Batch:
    """A batch of one kind of observations [T, N, ...], with all extras that any update reads."""
    zeros = jnp.zeros((T, N))
    indices = jnp.zeros((T, N), jnp.int32)
    floats = ("advantage", "target", "discount", "weight", "clipped", "intrinsic_reward", INNER)
    return Transition(
        obs=obs,
        action=indices,
        reward=zeros,
        terminated=zeros > 0,
        truncated=zeros > 0,
        next_obs=obs + 0,
        extras=Extras(
            {
                **dict.fromkeys(floats, zeros),
                **dict.fromkeys(("last", "table"), indices),
                "carry": carry,
                **extras,
            }
        ),
    )


def examples() -> dict[str, Callable[[], Example]]:
    """Name of each update, or loss, to how one is built."""
    cartpole, lake = rljax.make("CartPole-v1"), rljax.make("FrozenLake4x4")
    cells = (lake.observation_space.n, lake.action_space.n)
    actor_critic = networks.actor_critic(cartpole, "gru", hidden=(8,))
    head = networks.value_head("c51", num_atoms=5, v_min=0.0, v_max=1.0)
    q = networks.with_target(networks.q_network(cartpole, hidden=(8,), head=head))
    scalar = networks.q_network(cartpole, hidden=(8,), head=networks.value_head("scalar"))
    q_table = networks.q_table(lake)
    values = networks.value_head("scalar")
    remembering = networks.with_target(
        networks.q_network(cartpole, "gru", (8,), head=values, sequences=True)
    )
    pendulum = rljax.make("Pendulum-v1")
    ensemble = networks.ensemble_model(pendulum, 2, (8,))
    parts = {"temperature": lambda key: jnp.zeros(()), "model": ensemble.init}
    control = networks.actor_and_critics(pendulum, hidden=(8,), value=head, parts=parts)
    crossed = networks.actor_and_critics(pendulum, hidden=(8,), value=head, batch_norm=True)
    moves = batch(jnp.zeros((T, N, 3)), jnp.zeros((T, N, 1)), entropy=jnp.zeros((T, N)))
    moves = moves.replace(action=jnp.zeros((T, N, 1))).annotate(target=jnp.zeros((T, N, 5)))
    recorded = {"raw_action": jnp.zeros((T, N), jnp.int32), "log_prob": jnp.zeros((T, N))}
    numbers = batch(jnp.zeros((T, N, 4)), jnp.zeros((T, N, 8)), **recorded)
    latent = networks.latent_model(cartpole, hidden=(8,), head=head)
    sampled = numbers.replace(extras=Extras(search_policy=jnp.zeros((T, N, 2))))
    valued = numbers.annotate(action_values=jnp.zeros((T, N, 2)))
    windows = batch(jnp.zeros((T, N, 4)), jnp.zeros((1, N, 8)))
    stored = windows.replace(extras=Extras(carry=windows.extras["carry"]))
    windows = windows.annotate(target_carry=jnp.zeros((1, N, 8)))
    distributions = numbers.annotate(target=jnp.zeros((T, N, 5)))
    discrete = batch(
        jnp.zeros((T, N), jnp.int32), jnp.zeros((T, N, 1)), trace=jnp.zeros((T, N, *cells))
    )

    def inner_loss(params, batch, key):
        field = batch.extras[INNER]
        return 0.0, {INNER: 2 * field, f"losses/{INNER}": field.mean()}

    def inner(params, batch, key):
        _, metrics = inner_loss(params, batch, key)
        return batch.annotate(**{INNER: metrics.pop(INNER)}), metrics

    some_update = updates.stateless(inner)

    def of_policy(update: updates.Update) -> Example:
        return Example(update, actor_critic.net.init(jax.random.key(0)), numbers)

    def lagging(update: updates.Update) -> Example:
        actor = actors.lagged(actors.policy_actor(actor_critic), 2)
        return Example(update, actor.init(jax.random.key(0)), numbers)

    def with_pool(update: updates.Update) -> Example:
        actor = actors.with_versions(actors.policy_actor(actor_critic), "pool", 2)
        return Example(update, actor.init(jax.random.key(0)), numbers)

    def of_values(update: updates.Update, net: networks.Network, given: Batch) -> Example:
        return Example(update, net.init(jax.random.key(0)), given)

    def of_loss(loss: Callable) -> updates.Update:
        return updates.gradient(loss, optax.sgd(1.0))

    def of_control(update: updates.Update) -> Example:
        return Example(update, control.init(jax.random.key(0)), moves)

    def of_latent(update: updates.Update, given: Batch) -> Example:
        return Example(update, latent.init(jax.random.key(0)), given)

    def search(params, obs, carry, key):
        policy, _ = latent.predict(params, latent.represent(params, obs))
        return (), {"search_policy": policy}, ()

    def of_part(loss: Callable, part: str) -> Example:
        return of_control(updates.gradient(loss, optax.sgd(1.0), part=part))

    def of_crossed(update: updates.Update) -> Example:
        params = crossed.init(jax.random.key(0))
        return Example(
            update, params, moves.annotate(batch_statistics=params["critic"]["batch_statistics"])
        )

    def temperature(params):
        return jnp.exp(params["temperature"])

    def policy_loss(pi, outputs, batch):
        return outputs.mean(axis=-1) * batch.extras[INNER], {}

    def value_loss(value, batch):
        return value

    def statistics() -> Example:
        net = networks.actor_critic(cartpole, hidden=(8,), normalize_observations=True).net
        return of_values(updates.observation_statistics(net.encode), net, numbers)

    def of_own(update: updates.Update) -> Example:
        """Of an estimator that reads no parameters of the agent."""
        return Example(update, (), numbers)

    def chosen(params, batch):
        return networks.Categorical(actor_critic.outputs(params, batch))

    def by_nobody(state, obs, carry):
        return networks.Categorical(obs[..., :2]), carry

    taught = rljax.ppo(cartpole, hidden=(8,))._replace(distribution=by_nobody)
    signals = Signals()
    together = numbers.replace(reward=jnp.zeros((T, N, len(signals.agents))))
    standard = networks.with_normalized_values(actor_critic.net)
    space, flips = cartpole.observation_space, rljax.make("BitFlip")
    distillation = networks.random_distillation(space, hidden=(8,))
    model = networks.dynamics(space, cartpole.action_space, hidden=(8,))
    numbered = networks.numbered(lake.observation_space)
    bits = batch(jnp.zeros((T, N, *flips.observation_space.shape), bool), jnp.zeros((T, N, 1)))
    plain = networks.actor_critic(cartpole, hidden=(8,))
    game = rljax.make("TicTacToeGame")
    boards = batch(
        jnp.zeros((T, N, *game.observation_space.shape), bool),
        jnp.zeros((T, N, 1)),
        search_policy=jnp.zeros((T, N, game.action_space.n)),
    )
    searched = numbers.replace(
        obs=StateObs(numbers.obs, numbers.obs + 0), next_obs=StateObs(numbers.obs, numbers.obs + 1)
    )
    value, step = actor_critic.value, constant(0.1)
    moving = updates.chain(
        updates.n_step(0.99), updates.td_target(q_table), updates.table_step(step)
    )
    return {
        "gae": lambda: of_policy(updates.gae(value, 0.99, 0.95)),
        "n_step_advantage": lambda: of_policy(updates.n_step_advantage(value, 0.99, 2)),
        "vtrace": lambda: of_policy(updates.vtrace(actor_critic, 0.99)),
        "rewards_to_go": lambda: of_policy(updates.rewards_to_go(0.99)),
        "n_step": lambda: of_values(updates.n_step(0.99, 2), q.net, numbers),
        "td_target": lambda: of_values(updates.td_target(q), q.net, numbers),
        "fresh_carry": lambda: of_values(
            updates.fresh_carry(remembering.net), remembering.net, windows
        ),
        "burn_in": lambda: of_values(updates.burn_in(remembering, 2), remembering.net, stored),
        "next_estimates": lambda: of_values(
            updates.next_estimates(remembering), remembering.net, windows
        ),
        "initial_priorities": lambda: of_values(
            updates.initial_priorities(scalar, 0.99, 2), scalar.net, valued
        ),
        "lambda_target": lambda: of_values(
            updates.lambda_target(scalar, 0.99, 0.9), scalar.net, numbers
        ),
        "critic_target": lambda: of_control(
            updates.critic_target(control, control.choices, temperature=temperature)
        ),
        "model_statistics": lambda: of_control(updates.model_statistics(ensemble)),
        "imagined_rollouts": lambda: of_control(
            updates.imagined_rollouts(
                ensemble,
                control.policy,
                num_rollouts=N,
                rollout_length=1,
                model_buffer_size=N,
                batch_size=N,
                real_fraction=0.5,
            )
        ),
        "search_target": lambda: of_latent(updates.search_target(latent, 0.99, 2, 2), sampled),
        "reanalyse": lambda: of_latent(updates.reanalyse(search), sampled),
        "batch_statistics": lambda: of_crossed(updates.batch_statistics()),
        "target_network": lambda: of_values(updates.target_network(0.1), q.net, numbers),
        "keep_versions": lambda: with_pool(updates.keep_versions(some_update, "pool", 2)),
        "remember_parameters": lambda: lagging(updates.remember_parameters(some_update, 2)),
        "double_table_target": lambda: Example(
            updates.double_table_target(), jnp.zeros((2, *cells)), discrete
        ),
        "table_step": lambda: of_values(updates.table_step(step), q_table.net, discrete),
        "dyna": lambda: of_values(updates.dyna(moving, 2), q_table.net, discrete),
        "prioritized_sweeping": lambda: of_values(
            updates.prioritized_sweeping(moving, 0.99, 2, 0.0), q_table.net, discrete
        ),
        "trace_step": lambda: of_values(updates.trace_step(step), q_table.net, discrete),
        "without_states": lambda: of_own(updates.without_states())._replace(batch=searched),
        "value_target": lambda: of_values(updates.value_target(plain), plain.net, numbers),
        "symmetric": lambda: Example(updates.symmetric(game), (), boards),
        "observation_statistics": statistics,
        "target_statistics": lambda: of_values(
            updates.target_statistics(), standard, numbers.annotate(target=jnp.zeros((T, N)))
        ),
        "team_reward": lambda: Example(updates.team_reward(signals), (), together),
        "reward_scaling": lambda: of_policy(updates.reward_scaling(0.99)),
        "scaled_rewards": lambda: of_policy(updates.scaled_rewards(10.0)),
        "counts": lambda: Example(updates.counts(numbered, lake.action_space.n), (), discrete),
        "rnd": lambda: of_own(updates.rnd(distillation, 0.99, optax.sgd(1.0))),
        "icm": lambda: of_own(updates.icm(model, optax.sgd(1.0))),
        "bonus": lambda: of_own(updates.bonus(1.0)),
        "hindsight": lambda: Example(updates.hindsight(flips), (), bits),
        "pruning": lambda: of_policy(updates.pruning(0.5)),
        "teachers": lambda: of_policy(updates.teachers([(taught, None)])),
        "with_own_parameters": lambda: of_own(
            updates.with_own_parameters(lambda key: jnp.zeros(3), some_update)
        ),
        "stateless": lambda: of_policy(some_update),
        "chain": lambda: of_policy(updates.chain(some_update)),
        "in_parts": lambda: of_policy(
            updates.in_parts(of_loss(inner_loss).init, of_loss(inner_loss).parts)
        ),
        "epochs": lambda: of_policy(updates.epochs(some_update, 1, 1)),
        "every": lambda: of_policy(updates.every(2, of_loss(inner_loss), [f"losses/{INNER}"])),
        "gradient": lambda: of_policy(of_loss(inner_loss)),
        "adaptive_kl": lambda: of_policy(
            updates.adaptive_kl(some_update, actor_critic.outputs, actor_critic.kl, 0.01, 1.0)
        ),
        "q_loss": lambda: of_values(of_loss(updates.q_loss(q)), q.net, distributions),
        "critic_loss": lambda: of_part(updates.critic_loss(control), "critic"),
        "joint_critic_loss": lambda: of_crossed(
            updates.gradient(
                updates.joint_critic_loss(crossed, crossed.choices),
                optax.sgd(1.0),
                part="critic",
            )
        ),
        "actor_loss": lambda: of_part(
            updates.actor_loss(control, temperature=temperature), "actor"
        ),
        "distillation_loss": lambda: of_policy(of_loss(updates.distillation_loss(chosen)))._replace(
            batch=numbers.annotate(teachers=(networks.Categorical(jnp.zeros((T, N, 2))),))
        ),
        "temperature_loss": lambda: of_part(updates.temperature_loss(-1.0), "temperature"),
        "model_loss": lambda: of_part(updates.model_loss(ensemble), "model"),
        "unrolled_loss": lambda: of_latent(
            of_loss(updates.unrolled_loss(latent, 0.5, 1.0)),
            numbers.annotate(**sampled.extras),
        ),
        "actor_critic_loss": lambda: of_policy(
            of_loss(updates.actor_critic_loss(actor_critic, policy_loss, value_loss, 1.0, 0.0))
        ),
    }


class Measured(NamedTuple):
    """What an update reads, writes and reports; the names of fields, and "parameters"."""

    reads: list[str]
    writes: list[str]
    metrics: list[str]


def measured(example: Example) -> Measured:
    """Trace an update, and see which inputs its outputs depend on."""
    update, params, given = example
    state = jax.tree.map(
        of_all_environments,
        update.init(params, jax.random.key(0)),
        is_leaf=lambda node: isinstance(node, PerEnvironment),
    )
    inputs = (params, state, given, jax.random.key(0))
    traced, outputs = jax.make_jaxpr(update.apply, return_shape=True)(*inputs)
    names_in, names_out = leaf_names(inputs), leaf_names(outputs)
    kept = dict(zip(names_in, traced.jaxpr.invars, strict=True))
    changed = [
        kept.get(name) is not variable
        for name, variable in zip(names_out, traced.jaxpr.outvars, strict=True)
    ]
    _, used = partial_eval.dce_jaxpr(traced.jaxpr, changed)
    reads = [name for name, is_used in zip(names_in, used, strict=True) if is_used]
    writes = [name for name, is_changed in zip(names_out, changed, strict=True) if is_changed]
    return Measured(fields(reads), fields(writes), sorted(outputs[3]))


def of_all_environments(node: Any) -> Any:
    """What an update keeps for one environment, for all N."""
    if not isinstance(node, PerEnvironment):
        return node
    return PerEnvironment(jax.tree.map(lambda x: jnp.broadcast_to(x, (N, *x.shape)), node.value))


def leaf_names(tree: tuple) -> list[tuple[str, str]]:
    """Part ("parameters", "state", "batch" or "last") and path of each leaf of what apply takes."""
    parts = ("parameters", "state", "batch", "last")
    paths = (path for path, _ in jax.tree_util.tree_leaves_with_path(tree))
    return [
        (parts[path[0].idx], jax.tree_util.keystr(path[1:], simple=True, separator="."))
        for path in paths
    ]


def fields(names: list[tuple[str, str]]) -> list[str]:
    """The fields of the batch among the names of leaves, and "parameters"."""
    found = [
        part if part == "parameters" else path.removeprefix("extras.").split(".")[0]
        for part, path in names
        if part in ("parameters", "batch")
    ]
    return list(dict.fromkeys(found))


def row(name: str, example: Example) -> list[str]:
    """The row of an update: what it does, reads, writes and reports."""
    function = getattr(updates, name)
    what = inspect.getdoc(function).partition("\n\n")[0].replace("\n", " ")
    arguments = inspect.signature(function).parameters
    wrapped = next(
        (a for a in ("parts", "update", "loss", "policy_loss", "apply") if a in arguments), None
    )
    cells = []
    for verb, found in zip(("read", "write", "report"), measured(example), strict=True):
        inside = f"what the {wrapped} {verb}" if wrapped == "parts" else f"what `{wrapped}` {verb}s"
        words = {INNER: inside, f"losses/{INNER}": inside, "parameters": "*parameters*"}
        cells.append(", ".join(words.get(word, f"`{word}`") for word in found) or "-")
    return [f"`{name}`", what, *cells]


def page() -> str:
    """The text of docs/updates.md."""
    head = ("name", "what it does", "reads", "writes", "reports")
    built = {name: build() for name, build in examples().items()}
    losses = [name for name in built if name.endswith("_loss")]
    of_updates = table(head, (row(name, built[name]) for name in built if name not in losses))
    of_losses = table(head, (row(name, built[name]) for name in losses))
    return (
        f"{HEAD}\n{of_updates}\n## Losses\n\n`gradient` takes a loss and makes one gradient step. "
        f"With these losses it reads, writes and reports:\n\n{of_losses}"
    )


if __name__ == "__main__":
    PAGE.write_text(page())
