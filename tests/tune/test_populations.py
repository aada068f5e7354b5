"""Populations that select: who is copied, who is replaced, and that nothing else changes."""

import math
import runpy
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from states import arrays, different_leaves, jit

import rljax
from rljax.envs import probes
from rljax.errors import NonFiniteError, UsageError
from rljax.experiments.checkpoints import Checkpoints
from rljax.training.compilation import Chunk, chunk, described
from rljax.training.evaluation import episodes
from rljax.training.loop import advance
from rljax.training.rows import summarize
from rljax.tune import Range
from rljax.tune.fitness import fitness, selection_key
from rljax.tune.halving import Rung, schedule
from rljax.tune.pbt import choose_parents, copied, explore, lineage

ROOT = Path(__file__).parent.parent.parent
P, N, T, EPISODES = 6, 4, 8, 5
BOUNDS = {"lr": (1e-4, 1e-1, "log"), "gamma": (0.5, 0.9)}
RANGES = {name: Range(*bounds) for name, bounds in BOUNDS.items()}
FACTORS, RESAMPLE = (0.8, 1.25), 0.25
KEYS = jax.random.split(jax.random.key(0), P)
HERE = jax.devices()[0]

agent = rljax.ppo(
    probes.ContinuousTarget(),
    num_envs=N,
    rollout_length=T,
    num_minibatches=2,
    num_epochs=1,
    hidden=(8,),
    total_env_steps=9 * N * T,
)
# A selection in every second iteration: iterations 2, 4, ...
pbt = partial(rljax.pbt, agent, BOUNDS, interval_env_steps=2 * N * T, num_episodes=EPISODES)
population = pbt(fraction=0.34)
begin, step, plain_step = jit(population.init), jit(population.step), jit(rljax.vmap(agent).step)


def after(steps: int, states=None):
    # Put where restored ones are, so that one program serves both.
    states, metrics = jax.device_put(begin(KEYS), HERE) if states is None else states, {}
    for _ in range(steps):
        states, metrics = step(states)
    return states, metrics


def member(tree, index: int):
    return jax.tree.map(lambda x: x[index], tree)


def all_but_key(states):
    return states.iteration, states.learner, states.worker


def poisoned(states, *members: int):
    """The states with the last leaf of these members' parameters NaN."""
    leaves, shape = jax.tree.flatten(states.learner.params)
    leaves[-1] = leaves[-1].at[jnp.array(members)].set(jnp.nan)
    params = jax.tree.unflatten(shape, leaves)
    return replace(states, learner=replace(states.learner, params=params))


def assert_close(found, expected):
    found, expected = arrays(found), arrays(expected)
    for path, x in expected.items():
        np.testing.assert_allclose(found[path], x, 1e-4, 1e-5, err_msg=path)


def parents_by_hand(fitness, count: int, key) -> np.ndarray:
    """Truncation selection, member by member."""
    failed = [math.isnan(x) for x in fitness]
    ranking = sorted(
        range(len(fitness)), key=lambda i: (not failed[i], 0 if failed[i] else fitness[i])
    )
    winners = [i for i in ranking[-count:] if not failed[i]]
    losers = {*ranking[:count], *(i for i, bad in enumerate(failed) if bad)}
    draws = np.asarray(jax.random.randint(key, (len(fitness),), 0, max(1, len(winners))))
    return np.array(
        [winners[-1 - draws[i]] if i in losers and winners else i for i in range(len(fitness))]
    )


def explored_by_hand(hparams: dict, key) -> dict:
    """Every hyperparameter of every member, drawn afresh or moved, with the draws of `explore`."""
    moved = {}
    for (name, (low, high, *scale)), key_name in zip(
        BOUNDS.items(), jax.random.split(key, len(BOUNDS)), strict=True
    ):
        key_draw, key_factor, key_which = jax.random.split(key_name, 3)
        size = len(hparams[name])
        fresh = np.asarray(jax.random.uniform(key_draw, (size,)), np.float64)
        factors = np.array(FACTORS)[np.asarray(jax.random.randint(key_factor, (size,), 0, 2))]
        which = np.asarray(jax.random.uniform(key_which, (size,))) < RESAMPLE
        values = []
        for i, value in enumerate(np.asarray(hparams[name], np.float64)):
            if scale:
                drawn = low * (high / low) ** fresh[i]
                other = value * factors[i]
            else:
                drawn = low + fresh[i] * (high - low)
                other = value + math.log(factors[i]) * (high - low)
            values.append(drawn if which[i] else min(max(other, low), high))
        moved[name] = np.array(values)
    return moved


# Population-based training.


@pytest.mark.parametrize("fraction, count", [(0.05, 1), (0.25, 2), (0.5, 4)])
def test_parents_are_those_of_truncation_selection_by_hand(fraction, count):
    choose = jit(choose_parents, static_argnums=1)
    random = np.random.default_rng(0)
    for failed in range(9):
        for seed in range(10):
            found = random.integers(0, 6, 8).astype(np.float32)  # with ties
            found[random.permutation(8)[:failed]] = np.nan
            parents = np.asarray(choose(found, fraction, key := jax.random.key(seed)))
            np.testing.assert_array_equal(parents, parents_by_hand(found.tolist(), count, key))
            copied_from = parents[parents != np.arange(8)]
            assert np.isfinite(found[copied_from]).all()
            is_replaced = np.isnan(found) & (parents != np.arange(8))
            assert is_replaced.sum() == (failed if failed < 8 else 0)


def test_exploring_perturbs_or_draws_afresh_within_bounds():
    size, key = 500, jax.random.key(3)
    hparams = replace(
        agent.hparams,
        lr=jnp.geomspace(1e-4, 1e-1, size),
        gamma=jnp.linspace(0.5, 0.9, size),
        clip_eps=jnp.full(size, 0.2),
    )
    found = jit(partial(explore, bounds=RANGES, perturb=FACTORS, resample_probability=RESAMPLE))(
        hparams, key=key
    )
    expected = explored_by_hand({name: getattr(hparams, name) for name in BOUNDS}, key)
    for name, (low, high, *_) in BOUNDS.items():
        mine = np.asarray(getattr(found, name))
        np.testing.assert_allclose(mine, expected[name], 2e-5)
        assert (mine >= np.float32(low)).all() and (mine <= np.float32(high)).all()
    np.testing.assert_array_equal(found.clip_eps, hparams.clip_eps)
    ratios = np.asarray(found.lr) / np.asarray(hparams.lr)
    perturbed = np.isclose(ratios, 0.8, 1e-4) | np.isclose(ratios, 1.25, 1e-4)
    assert 0.65 < perturbed.mean() < 0.8


@pytest.mark.long
def test_copies_are_bit_for_bit_all_but_keys_and_hyperparameters():
    before, _ = after(1)
    parents = jnp.array([0, 4, 2, 3, 4, 2])
    found = jit(copied)(before, parents)
    for i, parent in enumerate(parents.tolist()):
        assert not different_leaves(
            all_but_key(member(found, i)), all_but_key(member(before, parent))
        )
    assert not different_leaves((found.key, found.hparams), (before.key, before.hparams))


@pytest.mark.long
def test_a_selection_is_what_it_would_be_by_hand():
    before, _ = after(1)
    trained, _ = plain_step(before)
    states, metrics = step(before)
    key_play, key_parents, key_explore = jax.random.split(selection_key(trained), 3)
    play = episodes(agent, EPISODES)
    fitness = [float(play(member(trained, i), key_play).returns.mean()) for i in range(P)]
    np.testing.assert_allclose(metrics["population/fitness"], fitness, 1e-4)
    parents = parents_by_hand(fitness, 2, key_parents)
    np.testing.assert_array_equal(metrics["population/parent"], parents)
    is_new = parents != np.arange(P)
    assert is_new.sum() == 2
    inherited = {name: getattr(before.hparams, name)[parents] for name in BOUNDS}
    moved = explored_by_hand(inherited, key_explore)
    for name in BOUNDS:
        expected = np.where(is_new, moved[name], getattr(before.hparams, name))
        np.testing.assert_allclose(getattr(states.hparams, name), expected, 2e-5)
        np.testing.assert_array_equal(metrics["population/" + name], getattr(states.hparams, name))
    assert_close(all_but_key(states), jax.tree.map(lambda x: x[parents], all_but_key(trained)))
    for loser in np.flatnonzero(is_new):
        copy, original = member(states, int(loser)), member(states, int(parents[loser]))
        assert not different_leaves(all_but_key(copy), all_but_key(original))


@pytest.mark.long
def test_copies_have_streams_of_their_own():
    states, metrics = after(2)
    parents = np.asarray(metrics["population/parent"]).astype(int)
    assert len({x.tobytes() for x in np.asarray(jax.random.key_data(states.key))}) == P
    states, _ = step(states)
    for loser in np.flatnonzero(parents != np.arange(P)):
        copy, original = member(states, int(loser)), member(states, int(parents[loser]))
        assert different_leaves(copy.worker, original.worker)
        assert different_leaves(copy.learner.params, original.learner.params)


@pytest.mark.long
def test_between_selections_members_train_as_those_of_vmap():
    states, metrics = after(1)
    start = begin(KEYS)
    expected, usual = plain_step(start)
    assert_close(states, expected)
    assert_close({name: metrics[name] for name in usual}, usual)
    assert np.isnan(metrics["population/fitness"]).all()
    given = jit(population.init)(KEYS, agent.hparams)
    assert not different_leaves(given, jit(rljax.vmap(agent).init)(KEYS, agent.hparams))


def test_hyperparameters_begin_spread_over_their_bounds():
    hparams = jit(population.init)(jax.random.split(jax.random.key(1), 1000)).hparams
    assert abs(np.log10(np.asarray(hparams.lr)).mean() + 2.5) < 0.1
    assert abs(np.asarray(hparams.gamma).mean() - 0.7) < 0.02
    for name, (low, high, *_) in BOUNDS.items():
        values = np.asarray(getattr(hparams, name))
        assert (values >= np.float32(low)).all() and (values <= np.float32(high)).all()
    np.testing.assert_array_equal(hparams.clip_eps, np.full(1000, np.float32(0.2)))


@pytest.mark.long
def test_a_member_that_is_not_finite_is_replaced_and_training_goes_on():
    states, metrics = after(1, poisoned(after(1)[0], 2))
    assert np.isnan(metrics["population/fitness"][2])
    assert metrics["population/parent"][2] != 2 and 2 not in np.delete(
        np.asarray(metrics["population/parent"]), 2
    )
    assert all(np.isfinite(x).all() for x in arrays(states.learner).values())
    compiled = Chunk(jit(chunk(population, 1)), 1)
    rows = [row for _, row in advance(population, compiled, poisoned(after(2)[0], 0, 4))]
    lost = [[loss is None for loss in row["losses/policy_loss"]] for row in rows]
    assert lost[:2] == [[True, False, False, False, True, False]] * 2 and not np.any(lost[2:])
    with pytest.raises(NonFiniteError, match="iteration 3"):
        list(advance(population, compiled, poisoned(after(2)[0], *range(P))))


def test_fitness_is_nan_where_anything_of_a_member_is_not_finite():
    states, _ = after(1)
    moments = jax.tree.map(
        lambda x: x.at[3].set(jnp.nan) if jnp.issubdtype(x.dtype, jnp.floating) else x,
        states.learner.update_state,
    )
    states = replace(states, learner=replace(states.learner, update_state=moments))
    found, env_steps = fitness(agent, EPISODES, True)(states, jax.random.key(0))
    assert env_steps.tolist() == [EPISODES] * P  # an episode is a step long
    assert np.isnan(found).tolist() == [False, False, False, True, False, False]


def test_a_saved_population_goes_on_bit_for_bit(tmp_path):
    halfway, _ = after(3)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(halfway)
    restored, damage = checkpoints.restore_latest(described(population, halfway))
    checkpoints.close()
    assert not damage and not different_leaves(halfway, restored)
    assert not different_leaves(after(3, halfway), after(3, restored))
    assert step._cache_size() == 1


def test_no_key_is_used_twice():
    # JAX's checker cannot follow a vmapped agent, so it looks at what selection adds to one.
    def select(key, fitness, hparams):
        key_parents, key_explore = jax.random.split(key)
        parents = choose_parents(fitness, 0.34, key_parents)
        return parents, explore(hparams, RANGES, FACTORS, RESAMPLE, key_explore)

    hparams = jax.tree.map(lambda x: jnp.full(P, x), agent.hparams)
    with jax.debug_key_reuse(True):
        jit(select).trace(KEYS[0], jnp.arange(float(P)), hparams)


def test_selection_takes_nothing_from_the_streams_of_members():
    trained, _ = plain_step(after(1)[0])
    states, _ = step(after(1)[0])
    assert not different_leaves(states.key, trained.key)
    used = {bytes(np.asarray(jax.random.key_data(key))) for key in states.key}
    key = selection_key(states)
    of_selection = [key, *jax.random.split(key, 3)]
    assert not used & {bytes(np.asarray(jax.random.key_data(key))) for key in of_selection}
    assert different_leaves(key, selection_key(after(1)[0]))


@pytest.mark.slow
def test_over_two_devices_a_population_is_the_same():
    states, step = begin(KEYS), jit(rljax.pmap(population, 2).step)
    crossed = False
    for _ in range(4):
        states, metrics = jax.block_until_ready(step(states))
        parents = np.asarray(metrics["population/parent"])
        crossed |= any((p < 3) != (i < 3) for i, p in enumerate(parents) if not np.isnan(p))
    assert crossed  # a member has become a copy of one on the other device
    expected, usual = after(4)
    assert_close(states, expected)
    assert_close(metrics, usual)
    drawn = jit(rljax.pmap(population, 2).init)(KEYS).hparams
    assert not different_leaves(drawn, begin(KEYS).hparams)


def test_rows_have_the_latest_selection():
    nothing = np.full(2, np.nan)
    metrics = {
        "charts/episodes": np.ones((4, 2)),
        "population/parent": np.array([nothing, [0, 0], [1, np.nan], nothing]),
        "population/lr": np.arange(8.0).reshape(4, 2),
    }
    row = summarize(population, metrics, 4, 1.0)
    assert row["population/parent"] == [1, None] and row["population/lr"] == [6, 7]
    metrics["population/parent"] = np.array([nothing] * 4)
    assert summarize(population, metrics, 4, 1.0)["population/parent"] == [None, None]


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"bounds": {}}, "bounds are empty"),
        ({"bounds": {"leraning_rate": (0.1, 1.0)}}, "'leraning_rate' is not known"),
        ({"bounds": {"gama": (0.1, 1.0)}}, "did you mean 'gamma'"),
        ({"bounds": {"lr": 1e-3}}, r"bounds of lr must be \(low, high\)"),
        ({"bounds": {"lr": (1.0, 0.1)}}, "low = 1.0 is not below high = 0.1"),
        ({"bounds": {"lr": (0.0, math.inf)}}, "high must be a number, not inf"),
        ({"bounds": {"lr": (0.0, 0.1, "log")}}, "a log scale begins above 0"),
        ({"bounds": {"lr": (0.1, 0.2, "lgo")}}, "did you mean 'log'"),
        ({"bounds": {"gamma": (0.9, 1.1)}}, "bounds of gamma must lie from 0 to 1, not be 1.1"),
        ({"fraction": 0.6}, "fraction must be above 0 and at most 0.5, not 0.6"),
        ({"perturb": (0.0, 2.0)}, "perturb must be two factors above 0"),
        ({"resample_probability": 1.5}, "resample_probability must be from 0 to 1"),
        ({"num_episodes": 0}, "num_episodes must be"),
        ({"interval_env_steps": 0}, "interval_env_steps must be"),
        ({"agent": rljax.vmap(agent)}, "give it an agent, not rljax.vmap of one"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        rljax.pbt(**{"agent": agent, "bounds": BOUNDS, **wrong})


def test_a_population_of_one_is_refused():
    with pytest.raises(UsageError, match="nobody to learn from"):
        jax.eval_shape(population.init, KEYS[:1])


@pytest.mark.long
def test_the_script_that_people_copy_runs(tmp_path, monkeypatch, capsys):
    sizes = ["--members", "4", "--env-steps", "2048", "--out", str(tmp_path / "schedule.png")]
    monkeypatch.setattr("sys.argv", ["population.py", *sizes])
    runpy.run_path(str(ROOT / "scripts/population.py"), run_name="__main__")
    assert "of 4: mean return" in capsys.readouterr().out
    assert Image.open(tmp_path / "schedule.png").size[0] > 500


def test_lineage_goes_back_through_parents():
    nothing = [np.nan] * 3
    parents = np.array([[0, 1, 1], nothing, [2, 1, 2], [0, 0, 2]])
    assert lineage(parents, 1).tolist() == [2, 2, 0, 1]
    assert lineage(parents, 0).tolist() == [2, 2, 0, 0]
    assert lineage(parents, 2).tolist() == [2, 2, 2, 2]


# Successive halving.


def halved(start=KEYS):
    how = {"eta": 4, "first_env_steps": 3 * N * T, "num_episodes": EPISODES}
    return list(rljax.halving(agent, start, HPARAMS, **how))


HPARAMS = replace(agent.hparams, lr=np.geomspace(1e-4, 1e-1, P))


@pytest.fixture(scope="module")
def rungs():
    return halved()


@pytest.mark.long
def test_each_cut_keeps_the_best(rungs):
    first, last = rungs
    assert first.members.tolist() == list(range(P)) and len(last.members) == 2  # 6 / 4, rounded up
    assert [rung.env_steps // (N * T) for rung in rungs] == [3, 9]
    order = sorted(range(P), key=lambda i: first.fitness[i])
    assert last.members.tolist() == sorted(order[-2:])


@pytest.mark.long
def test_survivors_end_as_if_they_had_trained_alone(rungs):
    last = rungs[-1]
    key = selection_key(last.states)
    number = int(last.members[0])
    hparams = replace(agent.hparams, lr=float(HPARAMS.lr[number]))
    alone, _ = rljax.train(agent, jit(agent.init)(KEYS[number], hparams))
    assert_close(member(last.states, 0), alone)
    expected = episodes(agent, EPISODES)(alone, key).returns.mean()
    np.testing.assert_allclose(last.fitness[0], expected, 1e-4)


@pytest.mark.long
def test_halving_taken_up_from_a_rung_goes_on_bit_for_bit(rungs):
    (again,), expected = halved(rungs[0]), rungs[1]
    assert again.env_steps == expected.env_steps
    np.testing.assert_array_equal(again.members, expected.members)
    np.testing.assert_array_equal(again.fitness, expected.fitness)
    assert not different_leaves(again.states, expected.states)
    assert halved(rungs[-1]) == []


def test_one_that_failed_does_not_go_on():
    found = np.array([np.nan, 1.0, np.nan, -5.0, 0.0])
    rung = Rung(5, 100, np.arange(5), found, None)  # type: ignore[arg-type]
    assert rung.best(2).tolist() == [1, 4] and rung.best(3).tolist() == [1, 3, 4]


@pytest.mark.parametrize(
    "members, eta, first, expected",
    [
        (9, 3, None, [(9, 1), (3, 3), (1, 9)]),
        (8, 2, 3 * N * T, [(8, 3), (4, 6), (2, 9)]),
        (4, 2, 9 * N * T, [(4, 9)]),
        (8, 2, 40, [(8, 2), (4, 3), (2, 5), (1, 9)]),  # rounded up to whole iterations
        (1, 3, None, [(1, 9)]),
    ],
)
def test_schedules_are_geometric_and_end_with_the_run(members, eta, first, expected):
    assert [tuple(stage) for stage in schedule(agent, members, eta, first)] == expected


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"eta": 1}, "eta must be at least 2"),
        ({"first_env_steps": 0}, "first_env_steps must"),
        ({"keys": jax.random.split(KEYS[0], 10)}, "10 members, .* 4 stages, .* 9 iterations"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_compiled(wrong, message):
    with pytest.raises(UsageError, match=message):
        rljax.halving(agent, wrong.pop("keys", KEYS), **wrong)
