"""Actors that compute gradients, and the server that applies them."""

import itertools
from functools import partial

import jax
import numpy as np
import pytest
from states import arrays, different_leaves
from walks import walks

import rljax
from rljax import networks, updates
from rljax.distributed import learner
from rljax.distributed.actors import Actor, Share
from rljax.distributed.crew import Answer
from rljax.distributed.learner import HostTraining, seeds
from rljax.distributed.parameter_server import ParameterServer
from rljax.distributed.programs import behaviour_of
from rljax.distributed.threads import Threads
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


def test_no_contribution_is_lost():
    agent = rljax.distribute(q_learning(), 2, parameter_server=True)
    state, history = rljax.train(agent, jax.random.key(0))
    assert int(state.iteration) == ITERATIONS
    assert list(history["env_steps"]) == [N * T * i for i in range(1, ITERATIONS + 1)]
    _, steps_of_the_table = state.learner.update_state[-1]
    assert steps_of_the_table == 2 * ITERATIONS


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([0, 1, 0, 1], [0.5, 1.0]),  # lags of 0 and 1, then of 1 and 1
        ([0, 0, 0, 1], [0.0, 1.5]),  # lags of 0 and 0, then of 0 and 3
    ],
)
def test_an_actor_lags_by_what_was_applied_since_it_fetched(order, expected):
    agent = rljax.distribute(a3c(), 2)
    crew = InOrder(agent, order)
    server, state = ParameterServer(agent, crew, 2), jax.jit(agent.init)(jax.random.key(0))
    assert [row["charts/policy_lag"] for state, row in rounds(server, state)] == expected
    assert len({*crew.keys}) == len(crew.keys)
    # Each goes on with the newest parameters, but for the last, who was not sent on yet.
    assert [actor for actor, _ in crew.sent] == [0, 1, *order[:-1]]
    for (_, one), (_, two) in itertools.pairwise(crew.sent[1:]):
        assert different_leaves(one.learner.params, two.learner.params)


def rounds(server, state):
    """Two iterations of a server."""
    for _ in range(2):
        state, row = server.iteration(state)
        yield state, row


class InOrder:
    """A crew that answers in a given order, with contributions of its actors."""

    def __init__(self, agent, order):
        self.driver, self.order, self.calls = self, list(order), {}
        self.sent, self.keys = [], []
        half = Share(0, N // 2, N // 2)
        self.actors = [
            Actor(agent, agent.env, half, T, seeds(np.zeros(2, np.uint32), 0, range(2), k))
            for k in range(2)
        ]

    def share(self, value):
        return value

    def submit(self, actor, behaviour, *keys, method):
        assert actor not in self.calls
        self.sent.append((actor, behaviour))
        self.keys += [tuple(key.tolist()) for key in keys]
        self.calls[actor] = partial(getattr(self.actors[actor], method), behaviour, *keys)

    def next(self):
        actor = self.order.pop(0)
        return [Answer(actor, self.calls.pop(actor)(), first=False)]


@pytest.mark.long
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


@pytest.mark.long
def test_an_actor_that_fails_is_replaced_and_its_work_is_done_again(recwarn):
    made: list[int] = []
    agent = rljax.distribute(a3c(walks(fails_at=6, lives=made)), 2)
    state, history = rljax.train(agent, jax.random.key(0))
    assert int(state.iteration) == ITERATIONS and made == [2, 2, 2]
    assert history["charts/actor_failures"].sum() == 1
    told = [str(w.message) for w in recwarn if "is replaced" in str(w.message)]
    assert len(told) == 1 and "the walk fell over" in told[0]


def test_a_table_learns_from_two_actors():
    agent = rljax.distribute(q_learning(128 * N * T, lr=0.2), 2, parameter_server=True)
    state, _ = rljax.train(agent, jax.random.key(0))
    table = np.asarray(state.learner.params)
    assert (table[:3].argmax(axis=1) == 1).all()
    np.testing.assert_allclose(table[:3, 1], [0.99**2, 0.99, 1.0], rtol=0.05)


def test_gradients_on_the_device_are_as_old_as_actions_are():
    """With `policy_lag`, the step is that of the gradient of the parameters that acted."""
    optimizer = updates.gradient(lambda params, batch, key: (batch * params**2, {}), sgd())
    lagging = updates.remember_parameters(optimizer, 1, contribute=True)
    params = {"online": jax.numpy.float32(3.0), "behaviour": jax.numpy.float32([5.0])}
    state = lagging.init(params, jax.random.key(0))
    after, _, _, metrics = lagging.apply(params, state, 0.5, jax.random.key(0))
    assert after["online"] == 3.0 - 5.0 and after["behaviour"].tolist() == [3.0]
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
        HostTraining(rljax.pmap(a3c(), 2))


def test_updates_that_keep_nothing_may_stand_before_one_in_parts():
    step = updates.table_step(updates.constant(0.1))
    q = networks.q_table(rljax.make("FrozenLake4x4"))
    target = [updates.n_step(0.9), updates.td_target(q)]
    assert updates.chain(*target, step).parts is not None
    assert updates.chain(step, *target).parts is None
    assert updates.chain(updates.reward_scaling(0.9), *target, step).parts is None


def pqn(**options):
    whole = {"num_epochs": 1, "num_minibatches": 1}
    return rljax.pqn(walks(), **{**SIZES, **whole, **options}, hidden=(8,))


def learnt(state):
    """What learning has changed."""
    return arrays(state.learner)


@pytest.mark.parametrize("q_lambda", [0.0, pytest.param(1.0, marks=pytest.mark.long)])
def test_a_network_of_action_values_takes_the_same_steps_through_a_server(q_lambda):
    agent = pqn(hparams=rljax.pqn.Hparams(q_lambda=q_lambda))
    served = rljax.distribute(agent, parameter_server=True)
    one, history = rljax.train(served, jax.random.key(0))
    alone, _ = rljax.train(agent, jax.random.key(0))
    # The server's program is another one, so a sum may end in another bit.
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-9), learnt(one), learnt(alone)
    )
    assert np.isfinite(history["losses/td_loss"]).all()


@pytest.mark.long
def test_actors_of_a_server_have_the_epsilons_of_their_places():
    # The first environment explores, the others hardly ever do.
    hparams = rljax.pqn.Hparams(epsilon_base=0.9, epsilon_alpha=200.0)
    agent = pqn(exploration="fixed_epsilons", rollout_length=100, hparams=hparams)
    agent = rljax.distribute(agent, 2, parameter_server=True)
    made = made_by(agent)
    state = jax.jit(agent.init)(jax.random.key(0))
    key = np.asarray(jax.random.key_data(jax.random.key(1)))
    varied = []
    for make in made:
        taken = make().collect(behaviour_of(state), key, explore=False).batch
        best = agent.act(state, taken.obs.reshape(200, 3), (), None)[0].reshape(100, 2)
        varied += [*(taken.action != best).mean(axis=0)]
    assert varied[0] > 0.5 and max(varied[1:]) < 0.05


def made_by(agent):
    """What makes the actors of a training."""

    class Listening(Threads):
        def __init__(self):
            super().__init__()
            self.made = []

        def launch(self, make):
            self.made.append(make)
            return super().launch(make)

    training, driver = HostTraining(agent), Listening()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "open_driver", lambda *arguments: driver)
        training._open(jax.jit(agent.init)(jax.random.key(0)))
    training.close()
    return driver.made
