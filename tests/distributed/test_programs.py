import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.distributed import programs
from rljax.distributed.programs import ActingProgram, behaviour_of
from rljax.types import Learner, State, Worker

N, T = 3, 4


class Odd:
    """An agent of which only the carry's reset is used; its policy records all kinds of arrays."""

    @staticmethod
    def initial_carry(leading):
        return jnp.full(leading, 7.0)

    @staticmethod
    def policy(state, obs, carry, key):
        noise = jax.random.uniform(key, (N,))
        action = (obs["x"] @ state.learner.params["w"]).astype(jnp.int8)
        recorded = {
            "noise": noise,
            "sure": noise > 0.5,
            "table": jnp.full((N, 2), state.learner.params["count"]),
            "small": jnp.arange(N, dtype=jnp.uint8),
        }
        return action, recorded, carry + 1.0


def state_with(w):
    params = {"w": w, "count": jnp.int32(5), "large": jnp.zeros(programs.LARGEST_PACKED + 1)}
    worker = Worker((), (), (), (), (), jnp.zeros(N), jnp.zeros(N, jnp.int32))
    return State(
        jnp.int32(2), jax.random.key(0), {"lr": jnp.float32(0.1)}, Learner(params, ()), worker
    )


def test_a_policy_reads_and_records_the_same_as_without_packing():
    state = state_with(jnp.array([1.0, 2.0]))
    behaviour = behaviour_of(state)
    program = ActingProgram(Odd, Odd.policy, behaviour, T)
    bits = np.array([3, 4], np.uint32)
    program.begin(behaviour, bits)
    keys = jax.random.split(jax.random.wrap_key_data(bits), T)
    carry, expected_carry, rows, wanted = jnp.full(N, 7.0), jnp.full(N, 7.0), [], []
    for t in range(T):
        obs, done = {"x": np.full((N, 2), t, np.float32)}, np.array([False, t == 2, False])
        action, recorded, carry = program.act(obs, carry, done)
        rows.append(recorded)
        before = jnp.where(done, 7.0, expected_carry)
        chosen, extras, expected_carry = Odd.policy(behaviour, obs, before, keys[t])
        np.testing.assert_array_equal(action, chosen)
        np.testing.assert_array_equal(carry, expected_carry)
        wanted.append({**extras, "carry": before})
    found = program.recorded(np.stack(rows))
    wanted = jax.tree.map(lambda *x: np.stack(x), *wanted)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    assert jax.tree.map(lambda x: x.dtype, found) == jax.tree.map(lambda x: x.dtype, wanted)


@pytest.mark.parametrize("w", [[1.0, 2.0], [3.0, -1.0]])
def test_it_acts_by_the_parameters_of_the_last_beginning(w):
    first = behaviour_of(state_with(jnp.zeros(2)))
    program = ActingProgram(Odd, Odd.policy, first, T)
    program.begin(first, np.zeros(2, np.uint32))
    obs, done = {"x": np.ones((N, 2), np.float32)}, np.zeros(N, bool)
    program.act(obs, jnp.zeros(N), done)
    program.begin(behaviour_of(state_with(jnp.array(w))), np.zeros(2, np.uint32))
    action, _, _ = program.act(obs, jnp.zeros(N), done)
    np.testing.assert_array_equal(action, np.full(N, sum(w), np.int8))
