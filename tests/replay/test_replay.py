"""What both replays promise, against rings made of Python's deques."""

from collections import deque
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import replay
from rljax.errors import UsageError
from rljax.types import Extras, MissingField, Transition

KEY = jax.random.key(0)
KINDS = {
    "uniform": replay.uniform,
    "prioritized": partial(replay.prioritized, alpha=0.6, beta=0.4),
}
both = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


@partial(jax.jit, static_argnums=(1, 2))
def stream(begin, time, envs):
    """Steps [T, N] from `begin` on; each field can be told from the step and the environment."""
    step = jnp.broadcast_to(begin + jnp.arange(time)[:, None], (time, envs))
    env = jnp.broadcast_to(jnp.arange(envs), (time, envs))
    return Transition(
        obs={"where": jnp.stack([env, step], -1).astype(jnp.float32), "pixel": _pixel(env, step)},
        action=step * 100 + env,
        reward=0.5 * step,
        terminated=step % 5 == 4,
        truncated=step % 7 == 6,
        next_obs={
            "where": jnp.stack([env, step + 1], -1).astype(jnp.float32),
            "pixel": _pixel(env, step + 1),
        },
        extras=Extras(carry=(env - step,), log_prob=jnp.zeros((time, envs))),
    )


def _pixel(env, step):
    return ((env * 16 + step) % 256).astype(jnp.uint8)[..., None]


@cache
def sampler(sample):
    """Compiled once for a memory, however often it is drawn from."""
    return jax.jit(jax.vmap(sample, (None, 0)))


def samples_of(memory, state, count, seed=1):
    """Many samples, one after the other along the batch: leaves [K, count * B, ...]."""
    keys = jax.random.split(jax.random.key(seed), count)
    batches = sampler(memory.sample)(state, keys)
    return jax.tree.map(
        lambda x: np.moveaxis(np.asarray(x), 0, 1).reshape(x.shape[1], -1, *x.shape[3:]), batches
    )


def check_windows(batch, length):
    """That all fields of a batch [K, B] belong to consecutive steps; environment, first step."""
    env, step = (batch.obs["where"][..., i].astype(int) for i in range(2))
    assert (env == env[0]).all()
    np.testing.assert_array_equal(step, step[0] + np.arange(len(step))[:, None])
    np.testing.assert_array_equal(batch.action, step * 100 + env)
    np.testing.assert_array_equal(batch.reward, 0.5 * step)
    np.testing.assert_array_equal(batch.terminated, step % 5 == 4)
    np.testing.assert_array_equal(batch.truncated, step % 7 == 6)
    np.testing.assert_array_equal(batch.obs["pixel"], _pixel(env, step))
    np.testing.assert_array_equal(batch.next_obs["where"], np.stack([env, step + 1], -1))
    np.testing.assert_array_equal(batch.next_obs["pixel"], _pixel(env, step + 1))
    np.testing.assert_array_equal(batch.extras["carry"][0], env - step)
    np.testing.assert_array_equal(batch.extras["row"], env * length + step % length)
    return list(zip(env[0].tolist(), step[0].tolist(), strict=True))


@both
@pytest.mark.parametrize(
    "buffer_size, time, envs, window",
    [
        (12, 1, 2, 1),
        pytest.param(20, 4, 1, 3, marks=pytest.mark.long),
        (13, 2, 3, 2),
        pytest.param(16, 8, 2, 8, marks=pytest.mark.long),
        (6, 1, 1, 6),
        pytest.param(24, 4, 2, 9, marks=pytest.mark.long),
    ],
)
def test_samples_are_all_the_windows_a_deque_holds_and_no_others(
    make, buffer_size, time, envs, window
):
    memory = make(buffer_size, 4, window, extras=("carry",))
    example = stream(0, time, envs)
    state = memory.init(example)
    length = state.storage.shape[1]
    assert length % time == 0 and buffer_size <= envs * length < buffer_size + envs * time
    model = deque(maxlen=length)
    add = jax.jit(memory.add)
    for rollout in range(3 * length // time + 1):
        state = add(state, stream(rollout * time, time, envs))
        model.extend(range(rollout * time, rollout * time + time))
        np.testing.assert_array_equal(state.size, len(model))
        if len(model) < window:
            continue
        batch = samples_of(memory, state, 100)
        assert batch.reward.shape == (window, 400)
        np.testing.assert_array_equal(batch.extras["weight"], 1)
        drawn = check_windows(batch, length)
        firsts = list(model)[: len(model) - window + 1]
        assert set(drawn) == {(env, first) for env in range(envs) for first in firsts}


@pytest.mark.long
@both
def test_rows_keep_their_types_and_only_the_extras_that_were_asked_for(make):
    example = stream(0, 2, 3)
    memory = make(12, 5, 2, extras=("carry",))
    shapes = jax.eval_shape(memory.init, example)
    state = memory.init(jax.eval_shape(lambda: example))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(
        lambda x: (x.shape, x.dtype), shapes
    )
    assert not np.asarray(state.storage).any()
    batch = memory.sample(memory.add(state, example), KEY)
    assert sorted(batch.extras) == ["carry", "row", "weight"]
    for mine, given in zip(
        jax.tree.leaves(batch.replace(extras=batch.extras["carry"])),
        jax.tree.leaves(example.replace(extras=example.extras["carry"])),
        strict=True,
    ):
        assert mine.dtype == given.dtype and mine.shape == (2, 5, *given.shape[2:])
    assert batch.extras["row"].dtype == jnp.int32
    assert batch.extras["weight"].dtype == jnp.float32
    assert batch.extras["weight"].shape == batch.extras["row"].shape == (2, 5)
    assert not make(12, 5).init(example).layout.row.extras
    with pytest.raises(MissingField, match="value"):
        make(12, 5, extras=("value",)).init(example)


@pytest.mark.long
@both
def test_the_state_splits_by_its_first_axis_into_smaller_replays(make):
    whole, half = make(48, 4, 2), make(24, 4, 2)
    example = stream(0, 3, 4)
    left = partial(jax.tree.map, lambda x: x[:, :2])
    state, part = whole.init(example), half.init(left(example))
    for begin in range(0, 18, 3):
        rollout = stream(begin, 3, 4)
        state, part = jax.jit(whole.add)(state, rollout), jax.jit(half.add)(part, left(rollout))
    assert all(len(x) == 4 for x in jax.tree.leaves(state))
    state = jax.tree.map(lambda x: x[:2], state)
    jax.tree.map(np.testing.assert_array_equal, state, part)
    jax.tree.map(np.testing.assert_array_equal, whole.sample(state, KEY), half.sample(part, KEY))


def annotated(batch):
    return batch.annotate(priority=jnp.sin(batch.reward + batch.action) * 3)


def live(memory, state, key, begin, time, envs):
    """One iteration of an agent."""
    state = memory.add(state, stream(begin, time, envs))
    batch = memory.sample(state, key)
    return memory.prioritize(state, annotated(batch)), batch


@both
def test_a_population_equals_its_members_one_by_one(make):
    memory = make(24, 4, 2)
    example = stream(0, 2, 3)
    states = jax.vmap(lambda _: memory.init(example))(jnp.arange(3))
    members = [memory.init(example) for _ in range(3)]
    begins = jnp.array([0, 100, 1000])
    step = jax.jit(partial(live, memory, time=2, envs=3))
    for t in range(6):
        keys = jax.random.split(jax.random.key(t), 3)
        states, batches = jax.vmap(step)(states, keys, begins + 2 * t)
        alone = [step(*x) for x in zip(members, keys, begins + 2 * t, strict=True)]
        members = [state for state, _ in alone]
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *alone)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), (states, batches), stacked)


@both
def test_what_is_saved_as_bytes_and_restored_samples_the_same(make):
    memory = make(24, 4, 2)
    state = memory.init(stream(0, 2, 3))
    step = jax.jit(partial(live, memory, time=2, envs=3))
    for t in range(6):
        state, _ = step(state, jax.random.key(t), 2 * t)
    leaves, structure = jax.tree.flatten(state)
    saved = [(x.shape, x.dtype, np.asarray(x).tobytes()) for x in leaves]
    restored = structure.unflatten(
        jnp.asarray(np.frombuffer(data, dtype).reshape(shape)) for shape, dtype, data in saved
    )
    for t in range(6, 9):
        state, batch = step(state, jax.random.key(t), 2 * t)
        restored, same = step(restored, jax.random.key(t), 2 * t)
        jax.tree.map(np.testing.assert_array_equal, (state, batch), (restored, same))


@both
def test_keys_are_used_once_and_decide_the_sample(make):
    memory = make(64, 32)
    state = memory.add(memory.init(stream(0, 32, 2)), stream(0, 32, 2))
    with jax.debug_key_reuse(True):
        first, again, other = (
            jax.jit(memory.sample)(state, jax.random.key(seed)).action for seed in (1, 1, 2)
        )
        with pytest.raises(jax.errors.KeyReuseError):
            jax.jit(lambda key: (memory.sample(state, key), jax.random.bits(key)))(KEY)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("rollouts", [5, 11])
def test_uniform_samples_are_uniform_and_independent(rollouts):
    memory = replay.uniform(24, 8, 2)
    state = memory.init(stream(0, 1, 3))
    for t in range(rollouts):
        state = memory.add(state, stream(t, 1, 3))
    windows = 3 * (min(rollouts, 8) - 1)
    rows = samples_of(memory, state, 10_000).extras["row"][0]
    counts = np.unique(rows, return_counts=True)[1]
    assert len(counts) == windows
    expected = rows.size / windows
    statistic = np.sum((counts - expected) ** 2) / expected
    assert abs(statistic - (windows - 1)) < 6 * np.sqrt(2 * (windows - 1))
    # With replacement: two of a batch agree as often as chance has it.
    pairs = rows.reshape(-1, 8)
    agree = np.mean(pairs[:, 0] == pairs[:, 1])
    assert abs(agree - 1 / windows) < 6 * np.sqrt(1 / windows / len(pairs))


@both
@pytest.mark.parametrize("window", [1, 3])
def test_a_loop_copies_no_buffer(make, window):
    batch = jax.tree.map(jnp.ones_like, stream(0, 2, 4)).replace(extras=Extras())
    memory = make(1_000_000, 32, window)

    def step(state, key):
        state = memory.add(state, batch)
        sample = memory.sample(state, key)
        state = memory.prioritize(state, annotated(sample))
        return state, jnp.mean(sample.extras["weight"] * sample.reward)

    def loop(state, key):
        return jax.lax.scan(step, state, jax.random.split(key, 100))

    state = jax.eval_shape(memory.init, batch)
    usage = jax.jit(loop, donate_argnums=0).lower(state, KEY).compile().memory_analysis()
    size = replay.size_in_bytes(state)
    assert usage.temp_size_in_bytes < 25_000 < size / 100
    assert usage.alias_size_in_bytes >= size


@both
@pytest.mark.parametrize(
    "counts, message",
    [
        ((8, 9), "batch_size = 9 is more than buffer_size = 8: make batch_size at most 8"),
        ((0, 1), "buffer_size must be a whole number of at least 1, not 0"),
        ((8, 2.0), "batch_size must be .* not 2.0"),
        ((8, 2, 0), "window must be .* not 0"),
        ((13, 2, 9), "window = 9 .* 8 rows .* 2 env.* buffer_size = 13 .* at most 8, .* least 18$"),
        ((2**30 + 1, 2), "buffer_size = 1073741825 is too large: make it at most 1073741824"),
        ((2**29, 2), r"^buffer_size = 536870912 .* GiB free: make buffer_size at most \d+$"),
    ],
)
def test_counts_that_do_not_fit_are_refused(make, counts, message):
    image = jax.ShapeDtypeStruct((2, 2, 84, 84, 4), jnp.uint8)
    with pytest.raises(UsageError, match=message):
        make(*counts).init(stream(0, 2, 2).replace(obs=image, next_obs=image))


@both
@pytest.mark.parametrize(
    "time, envs, fields, message",
    [
        (4, 2, {}, r"obs.pixel is uint8\[4, 2, 1\], but .* made for uint8\[2, 2, 1\]: add roll"),
        (2, 1, {}, r"obs.pixel is uint8\[2, 1, 1\], but"),
        (2, 2, {"reward": jnp.zeros((2, 2), int)}, r"'s reward is int32\[2, 2\], .* float32"),
        (
            2,
            2,
            {"action": jnp.zeros((2, 2, 1), int)},
            r"'s action is int32\[2, 2, 1\], .*\[2, 2\]:",
        ),
    ],
)
def test_rollouts_unlike_the_first_are_refused(make, time, envs, fields, message):
    memory = make(8, 2)
    rollout = stream(0, time, envs).replace(**fields)
    with pytest.raises(UsageError, match=message):
        memory.add(memory.init(stream(0, 2, 2)), rollout)


@both
@pytest.mark.parametrize(
    "time, envs, window, stride",
    [
        (4, 2, 5, 2),
        pytest.param(6, 1, 6, 3, marks=pytest.mark.long),
        pytest.param(4, 2, 3, 4, marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("where", [pytest.param("extras", marks=pytest.mark.long), "first_extras"])
def test_windows_begin_a_stride_apart(make, time, envs, window, stride, where):
    memory = make(24, 4, window, stride=stride, **{where: ("carry",)})
    state = memory.init(stream(0, time, envs))
    length, add = state.storage.shape[1], jax.jit(memory.add)
    for now in range(time, 3 * length + 1, time):
        state = add(state, stream(now - time, time, envs))
        if now < window:
            continue
        batch = samples_of(memory, state, 40)
        if where == "first_extras":
            env, step = (batch.obs["where"][..., i].astype(int) for i in range(2))
            np.testing.assert_array_equal(batch.extras["carry"][0], (env - step)[:1])
            batch = batch.annotate(carry=(env - step,))
        found = set(check_windows(batch, length))
        oldest = max(0, now - length)
        first = [f for f in range(oldest, now - window + 1) if f % stride == 0]
        assert found == {(env, f) for env in range(envs) for f in first}


@both
def test_a_stride_that_does_not_divide_a_rollout_is_refused(make):
    with pytest.raises(UsageError, match="rollout_length = 4 does not divide by stride = 3"):
        make(24, 4, 3, stride=3).init(stream(0, 4, 2))


@both
@pytest.mark.parametrize("rollouts", [1, 3, 4])  # the cursor in the ring, at its edge, and behind
def test_an_end_is_marked_at_the_newest_row_of_the_environments_that_are_named(make, rollouts):
    time, envs, window = 2, 3, 2
    memory = make(18, 4, window, extras=("carry",))
    example = stream(0, time, envs)
    ended = jnp.array([True, False, True])
    empty = memory.init(example)
    add, end_episodes = jax.jit(memory.add), jax.jit(replay.end_episodes)
    assert not np.asarray(end_episodes(empty, ended).storage).any()
    state = empty
    for rollout in range(rollouts):
        state = add(state, stream(rollout * time, time, envs))
    newest = rollouts * time - 1
    marked = add(end_episodes(state, ended), stream(newest + 1, time, envs))
    plain = add(state, stream(newest + 1, time, envs))
    before, after = (samples_of(memory, s, 100) for s in (plain, marked))
    env, step = (before.obs["where"][..., i].astype(int) for i in range(2))
    here = (step == newest) & np.asarray(ended)[env]
    assert here.any() and not before.truncated[here & (step % 7 != 6)].any()
    # A step of which the task ended stays as it is.
    np.testing.assert_array_equal(after.truncated, before.truncated | here & ~before.terminated)
    jax.tree.map(
        np.testing.assert_array_equal,
        after.replace(truncated=()),
        before.replace(truncated=()),
    )


@both
def test_what_is_stored_of_the_first_rows_of_windows_takes_memory_for_those_alone(make):
    def size(**options):
        memory = make(24, 4, 3, stride=3, **options)
        return replay.size_in_bytes(jax.eval_shape(memory.init, stream(0, 6, 2)))

    assert size(extras=("carry",)) - size() == 24 * 4
    assert size(first_extras=("carry",)) - size() == 24 // 3 * 4
