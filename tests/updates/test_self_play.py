"""What AlphaZero learns from: outcomes from both sides, and boards turned with their moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rljax
from rljax import updates
from rljax.envs import autoreset
from rljax.envs.states import WithState, without_state
from rljax.networks import ActorCritic, Categorical, Network
from rljax.types import Extras, MaskedObs, StateObs, Transition

T, N = 12, 5
KEY = jax.random.key(0)
game = rljax.make("TicTacToeGame")
# Its value of an observation [...] is the observation.
net = Network(lambda key: (), lambda params, obs, carry, key: ((obs, obs), carry))
ac = ActorCritic(net, None)


def games() -> Transition:
    """Random ends, with a reward at each of them."""
    rng = np.random.default_rng(0)
    ended = rng.random((T, N)) < 0.25
    obs = jnp.asarray(rng.normal(size=(T, N)), jnp.float32)
    return Transition(
        obs=obs,
        action=jnp.zeros((T, N), jnp.int32),
        reward=jnp.asarray(np.where(ended, rng.choice([-1, 0, 1], (T, N)), 0), jnp.float32),
        terminated=jnp.asarray(ended),
        truncated=jnp.zeros((T, N), bool),
        next_obs=obs + 10,
        extras=Extras(),
    )


@pytest.mark.parametrize("moves", [1, 4, T])
def test_targets_are_outcomes_for_who_moved_and_values_of_who_moves_next(moves):
    batch = games()
    chain = updates.chain(updates.n_step(-1.0, moves), updates.value_target(ac))
    _, _, after, _ = chain.apply((), chain.init((), KEY), batch, KEY)
    expected = np.zeros((T, N))
    for t, n in np.ndindex(T, N):
        # From the view of the player to move at t, each reward and value belongs to a player.
        for k in range(t, min(t + moves, T)):
            mine = 1 if (k - t) % 2 == 0 else -1
            expected[t, n] += mine * float(batch.reward[k, n])
            if batch.terminated[k, n]:
                break
        else:
            expected[t, n] += -mine * float(batch.next_obs[k, n])
    np.testing.assert_allclose(after.extras["target"], expected, rtol=1e-5)


def test_boards_and_policies_are_turned_together_in_all_ways():
    rng = np.random.default_rng(0)
    obs = MaskedObs(
        jnp.asarray(rng.random((1, 400, 3, 3, 2)) < 0.3), jnp.asarray(rng.random((1, 400, 9)) < 0.5)
    )
    # The policy marks the cells with a disc of who is to move.
    batch = jax.tree.map(lambda x: jnp.zeros((1, 400), x.dtype), games())
    policy = obs.obs[..., 0].reshape(1, 400, 9).astype(jnp.float32)
    batch = batch.replace(obs=obs, next_obs=obs).annotate(search_policy=policy)
    _, _, turned, _ = updates.symmetric(game).apply((), (), batch, KEY)
    boards = turned.obs.obs[..., 0].reshape(1, 400, 9)
    np.testing.assert_array_equal(turned.extras["search_policy"], boards)
    assert (turned.obs.legal.sum(-1) == obs.legal.sum(-1)).all()
    np.testing.assert_array_equal(turned.next_obs.obs, obs.obs)
    stays = (turned.obs.obs == obs.obs).all((0, 2, 3, 4)).mean()
    assert 0.08 < stays < 0.3  # an eighth, and boards that look the same
    ways = {np.asarray(game.seen_from(w, obs.obs[0, 0])).tobytes() for w in range(8)}
    assert len(ways) == 8


def test_the_loss_of_a_policy_is_the_cross_entropy_with_the_search():
    rng = np.random.default_rng(0)
    logits, found = rng.normal(size=(2, 3, 4)), rng.dirichlet(np.ones(4), (2, 3))
    found[0, 0] = [1, 0, 0, 0]
    batch = Transition(*[None] * 6, extras=Extras(search_policy=jnp.asarray(found)))
    losses, metrics = updates.search_policy_loss(Categorical(logits), jnp.asarray(logits), batch)
    log_pi = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(losses, -(found * log_pi).sum(-1), rtol=1e-5)
    kl = np.where(found > 0, found * (np.log(np.maximum(found, 1e-30)) - log_pi), 0).sum(-1)
    np.testing.assert_allclose(metrics["losses/search_kl"], kl.mean(), rtol=1e-5)


def test_a_state_travels_in_observations_and_is_not_stored():
    env = WithState(game)
    state, obs = autoreset.reset(env, KEY)
    assert isinstance(obs, MaskedObs) and isinstance(obs.obs, StateObs)
    state, obs, *_ = autoreset.step(env, KEY, state, 4)
    np.testing.assert_array_equal(obs.obs.state.board, state.board)
    batch = games().replace(obs=obs, next_obs=obs)
    _, _, after, _ = updates.without_states().apply((), (), batch, KEY)
    assert not isinstance(after.obs.obs, StateObs) and not isinstance(after.next_obs.obs, StateObs)
    np.testing.assert_array_equal(without_state(obs).legal, obs.legal)
    agent = rljax.alphazero(
        game, num_simulations=1, longest_game=2, num_envs=2, rollout_length=4,
        buffer_size=16, batch_size=2, warmup_env_steps=8, total_env_steps=32, hidden=(4,),
    )  # fmt: skip
    stored = jax.eval_shape(agent.init, KEY).worker.replay.layout.row
    assert stored.obs.obs.shape == (3, 3, 2)
