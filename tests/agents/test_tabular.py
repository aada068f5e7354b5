"""Tables find the exact solutions of small worlds, each algorithm in the way it is known for."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax import ops
from rljax.agents.tabular import Hparams
from rljax.envs import probes
from rljax.envs.grid_world import GridWorld
from rljax.errors import UsageError
from rljax.updates import stateless

TABLES = ("q_learning", "sarsa", "expected_sarsa", "double_q_learning", "q_lambda")
FAST = ("q_learning", "double_q_learning")
"""The tables whose rows always run."""
GAMMA = 0.9
# Compiling takes longer than training here.
jit = {"compiler_options": {"xla_backend_optimization_level": 0}}


def train(name, env, seeds: int, hparams: Hparams, **options):
    """Tables [seeds, S, A] and metrics [seeds, iterations]; of two tables, what acts."""
    agent = getattr(rljax, name)(env, hparams=hparams, **options)

    def run(key):
        state = agent.init(key)
        return jax.lax.scan(lambda s, _: agent.step(s), state, length=agent.num_iterations)

    keys = jax.random.split(jax.random.key(0), seeds)
    state, metrics = jax.jit(jax.vmap(run), **jit)(keys)
    table = np.asarray(state.learner.params)
    return table if table.ndim == 3 else table.mean(axis=1), jax.tree.map(np.asarray, metrics)


def constant_epsilon(epsilon: float, lr: float, **others) -> Hparams:
    return Hparams(lr=lr, epsilon_start=epsilon, epsilon_end=epsilon, **others)


def greedy_path(env: GridWorld, table) -> tuple[list[int], float]:
    """The cells on the way of the greedy policy, and its return; on firm floor, from one start."""
    cells, place, path, earned = env.cells.ravel(), int(env.starts[0]), [], 0.0
    while len(path) < 100 and cells[place] != "G":
        place = int(env.reached[place, table[place].argmax()])
        path.append(place)
        earned += env.arrival_reward[place]
        place = int(env.starts[0]) if cells[place] == "C" else place
    return path, earned


def mean_return(metrics) -> np.ndarray:
    """Per episode in the second half of training, of each seed."""
    episodes, returns = metrics["charts/episodes"], metrics["charts/episodic_return"]
    half = episodes.shape[1] // 2
    total = (episodes * np.nan_to_num(returns))[:, half:].sum(axis=1)
    return total / episodes[:, half:].sum(axis=1)


CLIFF_SEEDS = 6


@cache
def on_the_cliff(name: str, epsilon: float = 0.1, lr: float = 0.1):
    """Each seed's greedy path, its return, and that in training (Sutton and Barto, ex. 6.6)."""
    env = rljax.make("CliffWalking")
    table, metrics = train(
        name,
        env,
        CLIFF_SEEDS,
        constant_epsilon(epsilon, lr, gamma=1.0),
        num_envs=1,
        rollout_length=4,
        total_env_steps=80_000,
    )
    paths, returns = zip(*(greedy_path(env, q) for q in table), strict=True)
    return paths, np.array(returns), mean_return(metrics)


def test_q_learning_walks_along_the_edge():
    paths, returns, _ = on_the_cliff("q_learning")
    assert (returns == -13).all()
    edge = [24, *range(25, 36), 47]
    assert all(path == edge for path in paths)


@pytest.mark.long
@pytest.mark.parametrize("name", ["sarsa", "expected_sarsa"])
def test_sarsa_keeps_off_the_edge_and_falls_less_often(name):
    paths, returns, earned = on_the_cliff(name)
    reached = [path for path in paths if path[-1] == 47 and len(path) < 100]
    assert len(reached) >= CLIFF_SEEDS - 1
    # All but the columns at the two ends.
    assert not any({*path} & {*range(27, 34)} for path in reached)
    assert (returns < -13).all()
    *_, along_the_edge = on_the_cliff("q_learning")
    assert earned.min() > along_the_edge.max() + 10


@pytest.mark.long
@pytest.mark.parametrize("name", ["double_q_learning", "q_lambda"])
def test_what_learns_the_greedy_policy_finds_the_edge_if_it_looks_around(name):
    _, returns, _ = on_the_cliff(name, epsilon=0.5, lr=0.5)
    assert (returns == -13).all()


def shortfalls(name: str, env_steps: int, seeds: int = 16) -> np.ndarray:
    """How far below the optimum, as a part of it, each seed's greedy policy starts."""
    env = rljax.make(name)
    table, _ = train(
        "q_learning",
        env,
        seeds,
        Hparams(lr=1.0, epsilon_end=0.2),
        num_envs=64,
        total_env_steps=env_steps,
        step_size="visit_count",
    )
    model = env.transition_model()
    best = ops.value_iteration(model.probability, model.reward, Hparams.gamma).max(axis=1)
    policies = np.eye(4)[table.argmax(axis=-1)]
    evaluate = jax.jit(
        jax.vmap(
            lambda policy: ops.policy_evaluation(
                model.probability, model.reward, policy, Hparams.gamma
            )
        ),
        **jit,
    )
    values = (np.asarray(evaluate(policies)) * policies).sum(axis=-1) @ model.start
    optimum = np.asarray(best) @ model.start
    return (optimum - values) / np.abs(optimum)


@pytest.mark.slow
def test_q_learning_solves_the_frozen_lake():
    found = shortfalls("FrozenLake4x4", 500_000)
    assert (found < 0.01).all() and (found > -1e-4).all()


@pytest.mark.slow
def test_q_learning_takes_the_best_of_three_ways():
    assert (shortfalls("GridWorld10x10", 1_000_000) < 0.01).all()


@pytest.mark.long
def test_optimism_explores_where_greed_is_content():
    # Whatever is tried first pays a little; only who expects more than that finds the goal.
    env = GridWorld("S . . . . . . G", step_reward=0.1, goal_reward=10.0, limit=50)

    def lengths(initial_value: float):
        table, _ = train(
            "q_learning",
            env,
            4,
            constant_epsilon(0.0, 0.5, gamma=GAMMA),
            num_envs=2,
            total_env_steps=8_000,
            initial_value=initial_value,
        )
        return [len(greedy_path(env, q)[0]) for q in table]

    assert lengths(20.0) == [7] * 4
    assert lengths(0.0) == [100] * 4


DELAYED = {
    **{name: {"n_step": 3} for name in TABLES[:4]},
    "q_lambda": {},
    "boltzmann": {"n_step": 3, "exploration": "boltzmann"},
    "harmonic": {"n_step": 3, "step_size": "harmonic"},
    "visit_count": {"n_step": 3, "step_size": "visit_count"},
}


@pytest.mark.parametrize("name", DELAYED)
def test_a_reward_is_credited_to_the_action_two_steps_earlier(name):
    factory = name if name in TABLES else "q_learning"
    # What is observed in between does not tell, so that one-step targets would be all the same;
    # rollouts hold whole episodes.
    hparams = Hparams(lr=0.2, gamma=GAMMA, temperature=0.1)
    options = {"num_envs": 4, "rollout_length": 12, "total_env_steps": 12_000, **DELAYED[name]}
    table, _ = train(factory, probes.DelayedReward(), 4, hparams, **options)
    if DELAYED[name]:
        expected = np.tile([0, GAMMA**2], (4, 1))
        np.testing.assert_allclose(table[:, 0], expected, rtol=0.05, atol=0.01)
    assert (table[:, 0, 1] > table[:, 0, 0] + 0.1).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in FAST),
        *(pytest.param(name, {}, marks=pytest.mark.long) for name in TABLES if name not in FAST),
        ("q_learning", {"n_step": 4}),
        ("double_q_learning", {"n_step": 3}),
    ],
)
def test_values_bootstrap_from_the_last_observation_of_a_truncated_episode(name, options):
    # What is done does not matter there, so that all algorithms have the same values.
    hparams = constant_epsilon(0.5, 0.3, gamma=GAMMA, trace_lambda=0.5)
    counts = {"num_envs": 8, "rollout_length": 4, "total_env_steps": 60_000}
    table, _ = train(name, probes.Ring(), 2, hparams, **counts, **options)
    expected = GAMMA ** np.arange(8)[::-1] / (1 - GAMMA**8)
    np.testing.assert_allclose(table, np.tile(expected[:, None], (2, 1, 2)), rtol=0.01)


def after_one_episode(name: str, seed: int) -> np.ndarray:
    """The table [S, A] of a walk down a corridor, after its first episode."""
    env = GridWorld("S . . . . . G", limit=10_000)
    agent = getattr(rljax, name)(env, num_envs=1, hparams=constant_epsilon(1.0, 0.5, gamma=GAMMA))

    def unfinished(carry):
        state, episodes = carry
        return (episodes == 0) & (state.iteration < 10_000)

    def step(carry):
        state, metrics = agent.step(carry[0])
        return state, metrics["charts/episodes"]

    def run(key):
        return jax.lax.while_loop(unfinished, step, (agent.init(key), jnp.float32(0)))

    state, episodes = jax.jit(run, **jit)(jax.random.key(seed))
    assert episodes == 1
    return np.asarray(state.learner.params)


def test_traces_carry_a_delayed_reward_down_a_corridor_in_one_episode():
    without, with_traces = (after_one_episode(name, 0) for name in ("q_learning", "q_lambda"))
    assert (without > 0).sum() == 1 and np.isclose(without[5, 1], 0.5)
    assert (with_traces[:6, 1] > 0).all() and np.isclose(with_traces[5, 1], 0.5)
    # The last visit of each cell on the way, no later than the one of the cell behind it.
    fade = GAMMA * Hparams.trace_lambda
    assert (with_traces[:5, 1] <= with_traces[1:6, 1] * fade + 1e-6).all()


def test_traces_fade_along_greedy_actions_and_are_cut_by_others_and_by_the_end():
    names = ("obs", "action", "terminated", "truncated")

    def look(params, batch, key):
        seen = {name: getattr(batch, name) for name in names}
        return batch, {**seen, "trace": batch.extras["trace"]}

    env = GridWorld("S . . G", step_reward=-0.1, limit=6)
    hparams = constant_epsilon(0.5, 0.3, gamma=GAMMA, trace_lambda=0.8)
    options = {"num_envs": 3, "rollout_length": 25, "first": stateless(look)}
    agent = rljax.q_lambda(env, hparams=hparams, **options)
    step = jax.jit(agent.step, **jit)
    state = agent.init(jax.random.key(0))
    trace, happened = np.zeros((3, 4, 4)), set()
    for _ in range(3):
        q = np.asarray(state.learner.params)
        state, metrics = step(state)
        seen = {name: np.asarray(metrics[name]) for name in (*names, "trace")}
        for t, e in np.ndindex(25, 3):
            obs, action = seen["obs"][t, e], seen["action"][t, e]
            greedy = q[obs, action] == q[obs].max()
            trace[e] *= GAMMA * 0.8 if greedy else 0.0
            trace[e, obs, action] = 1.0
            np.testing.assert_allclose(seen["trace"][t, e], trace[e], rtol=1e-5)
            terminated, truncated = seen["terminated"][t, e], seen["truncated"][t, e]
            happened.add((bool(greedy), bool(terminated), bool(truncated)))
            if terminated or truncated:
                trace[e] = 0.0
    assert {g for g, *_ in happened} == {True, False}
    assert any(t for _, t, _ in happened) and any(t for *_, t in happened)


@pytest.mark.long
@pytest.mark.parametrize(
    ("n", "t"),
    [(16, 32), *(pytest.param(*x, marks=pytest.mark.long) for x in [(1, 1), (1, 16), (16, 1)])],
)
def test_without_traces_q_lambda_is_q_learning_however_much_a_rollout_holds(n, t):
    lake, hparams = rljax.make("FrozenLake4x4"), Hparams(trace_lambda=0.0, lr=0.3)
    options = {"num_envs": n, "rollout_length": t, "total_env_steps": 40 * n * t}
    q_lambda, q_learning = (
        train(name, lake, 2, hparams, **options)[0] for name in ("q_lambda", "q_learning")
    )
    assert np.abs(q_learning).max() > 0 or n * t == 1
    np.testing.assert_allclose(q_lambda, q_learning, rtol=1e-4, atol=1e-6)


@pytest.mark.long
def test_dyna_without_imagined_steps_is_q_learning_and_with_them_learns_faster():
    env = rljax.make("DynaMaze")
    options = {"num_envs": 4, "rollout_length": 4, "total_env_steps": 4000}
    hparams = constant_epsilon(0.1, 0.1, gamma=0.95)
    of_dyna = rljax.dyna_q.Hparams(**vars(hparams))
    plain, _ = train("q_learning", env, 8, hparams, **options)
    without, _ = train("dyna_q", env, 8, of_dyna, planning_steps=0, **options)
    np.testing.assert_array_equal(without, plain)
    table, _ = train("dyna_q", env, 8, of_dyna, planning_steps=10, **options)
    start, optimum = int(env.starts[0]), 0.95**13
    assert np.median(table[:, start].max(axis=-1)) > 0.8 * optimum
    assert plain[:, start].max() < 0.1 * optimum


@pytest.mark.long
@pytest.mark.parametrize(
    ("n", "t"),
    [(64, 32), *(pytest.param(*x, marks=pytest.mark.long) for x in [(64, 128), (1, 128)])],
)
def test_q_lambda_is_stable_at_its_defaults_however_much_a_rollout_holds(n, t):
    """Returns of the lake are 0 or 1, so no value can rightly be further from that."""
    lake = rljax.make("FrozenLake4x4")
    options = {"num_envs": n, "rollout_length": t, "total_env_steps": 100 * n * t}
    table, _ = train("q_lambda", lake, 2, Hparams(), **options)
    assert np.all((table > -0.5) & (table < 1.5)) and table.max() > 0.1


@pytest.mark.long
def test_a_trace_of_next_to_nothing_moves_next_to_nothing():
    """Its square is 0 in float32."""
    lake = rljax.make("FrozenLake4x4")
    options = {"num_envs": 16, "rollout_length": 4, "total_env_steps": 64 * 200}
    table, _ = train("q_lambda", lake, 2, Hparams(trace_lambda=0.1), **options)
    assert np.isfinite(table).all() and table.max() > 0


@pytest.mark.long
def test_traces_sum_errors_of_one_step():
    with pytest.raises(UsageError, match="n_step must be 1, not 4; trace_lambda says"):
        rljax.q_lambda(rljax.make("FrozenLake4x4"), n_step=4, rollout_length=8)
