"""Actors that compute gradients, and the server that applies them."""

import jax
import numpy as np
import pytest
from states import different_leaves
from walks import walks

import rljax
from rljax import networks, updates
from rljax.distributed.actors import Actor, Share
from rljax.distributed.learner import HostTraining, seeds
from rljax.distributed.programs import behaviour_of
from rljax.envs import spaces
from rljax.envs.simulators import HostEnvironment, Steps
from rljax.errors import UsageError

N, T, ITERATIONS = 4, 4, 6
SIZES = {"num_envs": N, "rollout_length": T, "total_env_steps": ITERATIONS * N * T}


def a3c(env=None, **options):
    return rljax.a3c(env or walks(), **SIZES, hidden=(8,), **options)


class Line:
    """Cells 0 to 3 in a row; action 1 goes right, 0 stays, and the last cell ends the episode."""

    def __init__(self, num_envs):
        self.num_envs = num_envs

    def reset(self, seeds):
        self.cell = np.zeros(self.num_envs, np.int32)
        return self.cell

    def step(self, actions):
        after = self.cell + actions.astype(np.int32)
        over = after == 3
        reward, never = over.astype(np.float32), np.zeros(self.num_envs, bool)
        self.cell = np.where(over, 0, after).astype(np.int32)
        return Steps(self.cell, reward, over, never, after, reward, over)

    def close(self):
        pass


def q_learning(total_env_steps=ITERATIONS * N * T, **hparams):
    line = HostEnvironment("Line", spaces.Discrete(4), spaces.Discrete(2), Line)
    given = rljax.q_learning.Hparams(**hparams)
    return rljax.q_learning(line, **{**SIZES, "total_env_steps": total_env_steps}, hparams=given)


@pytest.fixture(scope="module")
def served():
    return rljax.train(a3c(), jax.random.key(0))


@pytest.fixture(scope="module")
def served_by_two():
    return rljax.train(rljax.distribute(a3c(walks(seconds=0.002)), 2), jax.random.key(0))


def test_one_actor_gives_the_bits_of_learn(served):
    state, history = served
    agent = rljax.distribute(a3c(), parameter_server=False)
    synchronous, expected = rljax.train(agent, jax.random.key(0))
    assert not different_leaves(state, synchronous)
    assert set(history) == set(expected)
    for name in ("losses/value_loss", "losses/grad_norm", "charts/episodic_return", "env_steps"):
        np.testing.assert_array_equal(history[name], expected[name], err_msg=name)
    assert (history["charts/policy_lag"] == 0).all()


def test_a_table_takes_the_same_steps_through_a_server():
    one = rljax.train(rljax.distribute(q_learning(), parameter_server=True), jax.random.key(0))[0]
    assert not different_leaves(one, rljax.train(q_learning(), jax.random.key(0))[0])


def test_no_contribution_is_lost(served_by_two):
    state, history = served_by_two
    assert int(state.iteration) == ITERATIONS
    assert list(history["env_steps"]) == [N * T * i for i in range(1, ITERATIONS + 1)]
    # Each visit of an episode's end was in the rewards of one contribution or another.
    assert (history["charts/episodes"] >= N).all()

    agent = rljax.distribute(q_learning(lr=1.0), 2, parameter_server=True)
    _, updates_of_table = rljax.train(agent, jax.random.key(0))[0].learner.update_state[-1]
    assert updates_of_table == 2 * ITERATIONS


def test_actors_lag_by_what_others_contributed(served_by_two):
    lag = served_by_two[1]["charts/policy_lag"]
    # Two actors of the same speed: each finds that the other one contributed meanwhile, but for
    # the first contribution of all. A fraction of a contribution is that mean over an iteration.
    assert lag[0] == 0.5 and lag[1:].min() >= 0.5 and lag[1:].mean() < 2


def test_a_slow_actor_lags_by_as_many_as_came_meanwhile():
    """With contributions in an order that the test chooses."""
    from rljax.distributed.parameter_server import ParameterServer

    agent = rljax.distribute(a3c(), 2)
    crew = InOrder(agent, [0, 0, 0, 1])
    server, state = ParameterServer(agent, crew, 2), jax.jit(agent.init)(jax.random.key(0))
    lags = []
    for _ in range(2):
        state, row = server.iteration(state)
        lags.append(row["charts/policy_lag"])
    assert lags == [0.0, 1.5]  # of 0 and 0, then of 0 and 3
    assert crew.sent == [(0, 0), (1, 0), (0, 0), (0, 1)]
    newest = behaviour_of(state).learner.params
    assert different_leaves(crew.fetched[-1].learner.params, newest)


class InOrder:
    """A crew that answers in a given order, with contributions of its actors."""

    def __init__(self, agent, order):
        self.driver, self.order, self.calls = self, list(order), {}
        self.sent, self.fetched = [], []
        half = Share(0, N // 2, N // 2)
        self.actors = [
            Actor(agent, agent.env, half, T, seeds(np.zeros(2, np.uint32), 0, range(2), k))
            for k in range(2)
        ]

    def share(self, value):
        return value

    def submit(self, actor, behaviour, *keys, method):
        assert actor not in self.calls
        self.sent.append((actor, int(behaviour.iteration)))
        self.fetched.append(behaviour)
        self.calls[actor] = partial_call(self.actors[actor], method, behaviour, *keys)

    def next(self):
        actor = self.order.pop(0)
        return [(actor, self.calls.pop(actor)())]


def partial_call(actor, method, *args):
    return lambda: getattr(actor, method)(*args)


def test_a_contribution_is_of_the_parameters_that_acted_and_carries_no_experience():
    agent = a3c()
    state = jax.jit(agent.init)(jax.random.key(0))
    actor = Actor(agent, agent.env, Share(0, N, N), T, list(range(N)))
    keys = np.asarray(jax.random.key_data(jax.random.split(state.key, 3)))[1:]
    brought = actor.contribute(behaviour_of(state), *keys)
    params = jax.tree.map(np.shape, state.learner.params)
    assert jax.tree.map(np.shape, brought.value) == params
    assert {np.shape(x) for x in brought.metrics.values()} == {()}
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(brought.value))

    again = Actor(agent, agent.env, Share(0, N, N), T, list(range(N)))
    batch = again.collect(behaviour_of(state), keys[0], explore=False).batch
    learnt, _ = jax.jit(agent.learn)(state, batch)
    absorbed, _ = jax.jit(agent.absorb)(state, brought.value)
    assert not different_leaves(learnt.learner, absorbed.learner)
    assert not different_leaves(learnt.key, absorbed.key)
    assert absorbed.iteration == state.iteration


def test_an_actor_that_fails_is_replaced_and_its_work_is_done_again(recwarn):
    made: list[int] = []
    agent = rljax.distribute(a3c(walks(fails_at=6, lives=made)), 2)
    state, history = rljax.train(agent, jax.random.key(0))
    assert int(state.iteration) == ITERATIONS and made == [2, 2, 2]
    assert history["charts/actor_failures"].sum() == 1
    told = [str(w.message) for w in recwarn if "actor" in str(w.message)]
    assert len(told) == 1 and "replaced" in told[0] and "the walk fell over" in told[0]


def test_a_table_learns_from_two_actors():
    agent = rljax.distribute(q_learning(64 * N * T, lr=0.5), 2, parameter_server=True)
    state, _ = rljax.train(agent, jax.random.key(0))
    table = np.asarray(state.learner.params)
    assert (table[:3].argmax(axis=1) == 1).all()
    np.testing.assert_allclose(table[:3, 1], [0.99**2, 0.99, 1.0], rtol=0.02)


def test_gradients_on_the_device_are_as_old_as_actions_are():
    """With `policy_lag`, the step is that of the gradient of the parameters that acted."""
    optimizer = updates.gradient(lambda params, batch, key: (batch * params**2, {}), sgd())
    lagging = updates.remember_parameters(optimizer, 1, contribute=True)
    params = {"online": jax.numpy.float32(3.0), "behaviour": jax.numpy.float32([5.0])}
    state = lagging.init(params, jax.random.key(0))
    after, _, _, metrics = lagging.apply(params, state, 0.5, jax.random.key(0))
    assert after["online"] == 3.0 - 5.0 and after["behaviour"] == [3.0]
    assert metrics["losses/grad_norm"] == 5.0


def sgd():
    import optax

    return optax.sgd(1.0)


def test_what_no_actor_could_contribute_to_is_refused():
    with pytest.raises(UsageError, match="one step on each rollout"):
        rljax.distribute(rljax.ppo(walks(), **SIZES), parameter_server=True)
    with pytest.raises(UsageError, match="updates.stateless"):
        a3c(first=updates.reward_scaling(0.99))
    with pytest.raises(UsageError, match="without rljax.pmap"):
        HostTraining(rljax.pmap(a3c(), 2)).run(rljax.pmap(a3c(), 2).init(jax.random.key(0)), 1)


def test_updates_that_keep_nothing_may_stand_before_one_in_parts():
    step = updates.table_step(updates.constant(0.1))
    q = networks.q_table(rljax.make("FrozenLake4x4"))
    target = [updates.n_step(0.9), updates.td_target(q)]
    assert updates.chain(*target, step).parts is not None
    assert updates.chain(step, *target).parts is None
    assert updates.chain(updates.reward_scaling(0.9), *target, step).parts is None
