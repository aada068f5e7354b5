"""Imagined steps per second of Dyna-Q, beside a loop of NumPy as in the book.

    python benchmarks/studies/imagined_steps.py --seeds 256

Both learn in the Dyna maze of Sutton and Barto 2018, section 8.2, with 50 imagined steps for each
real one. The loop learns with one seed. `rljax.dyna_q` learns with one seed, with `--seeds` in one
program, and with one seed in `--num-envs` environments. Those share one table, which learns from as
many imagined steps at once. The four take turns, and each figure is the median. The greedy steps
from the start to the goal are printed, too: 14 are the fewest. Real steps take time, but do not
count.
"""

import click
import jax
import jax.numpy as jnp
import numpy as np
from searching import in_turns

import rljax

LR, GAMMA, EPSILON = 0.1, 0.95, 0.1


def numpy_loop(env, planning_steps: int, steps: int) -> np.ndarray:
    """The table [S, A] after so many real steps."""
    rng = np.random.default_rng(0)
    goal, start = env.cells.ravel() == "G", int(env.starts[0])
    q = np.zeros(env.reached.shape)
    outcome: dict[tuple[int, int], tuple[float, int, bool]] = {}
    tried: dict[int, list[int]] = {}
    visited: list[int] = []

    def learn(state: int, action: int, reward: float, after: int, ended: bool) -> None:
        target = reward if ended else reward + GAMMA * q[after].max()
        q[state, action] += LR * (target - q[state, action])

    state = start
    for _ in range(steps):
        if rng.random() < EPSILON:
            action = int(rng.integers(len(q[state])))
        else:
            action = int(rng.choice(np.flatnonzero(q[state] == q[state].max())))
        after = int(env.reached[state, action])
        ended = bool(goal[after])
        step = float(ended), after, ended
        learn(state, action, *step)
        if state not in tried:
            tried[state] = []
            visited.append(state)
        if (state, action) not in outcome:
            tried[state].append(action)
        outcome[state, action] = step
        for _ in range(planning_steps):
            seen = visited[rng.integers(len(visited))]
            choice = tried[seen][rng.integers(len(tried[seen]))]
            learn(seen, choice, *outcome[seen, choice])
        state = start if ended else after
    return q


def greedy_steps(env, q: np.ndarray) -> int:
    """Steps from the start to the goal by the greedy actions of a table [S, A]; 99 for more."""
    state, goal = int(env.starts[0]), env.cells.ravel() == "G"
    for step in range(99):
        if goal[state]:
            return step
        state = int(env.reached[state, q[state].argmax()])
    return 99


def trained(seeds: int, num_envs: int, planning_steps: int, steps: int):
    """The function that trains so many seeds for so many real steps each, and its argument.

    Steps of all environments are counted. It gives the tables [seeds, S, A], or [S, A] of one seed.
    """
    hparams = rljax.dyna_q.Hparams(lr=LR, gamma=GAMMA, epsilon_start=EPSILON, epsilon_end=EPSILON)
    agent = rljax.dyna_q(
        rljax.make("DynaMaze"), planning_steps=planning_steps, num_envs=num_envs, hparams=hparams
    )
    agent = rljax.vmap(agent) if seeds > 1 else agent
    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    state = jax.jit(agent.init)(keys if seeds > 1 else keys[0])

    def train(state):
        rows = steps // num_envs
        state, _ = jax.lax.scan(lambda state, _: agent.step(state), state, length=rows)
        return state.learner.params

    options = rljax.compiler_options(train, state)  # as `rljax.train` compiles
    return jax.jit(train).lower(state).compile(options), (state,)


@click.command(help=__doc__.splitlines()[0])
@click.option("--seeds", default=256, show_default=True)
@click.option("--num-envs", default=64, show_default=True)
@click.option("--planning-steps", default=50, show_default=True)
@click.option("--steps", default=6400, show_default=True, help="Real ones, of each seed.")
@click.option("--repeats", default=3, show_default=True)
def main(seeds: int, num_envs: int, planning_steps: int, steps: int, repeats: int) -> None:
    """Time each of them, and print the table."""
    if steps % num_envs:
        raise click.UsageError("--steps must be a multiple of --num-envs")
    print(f"{planning_steps} imagined steps for each of {steps} real ones, {jax.devices()[0]}")
    sizes = planning_steps, steps
    env = rljax.make("DynaMaze")
    programs = {
        "NumPy, 1 seed": (numpy_loop, (env, *sizes)),
        "rljax, 1 seed": trained(1, 1, *sizes),
        f"rljax, {seeds} seeds": trained(seeds, 1, *sizes),
        f"rljax, 1 seed, {num_envs} environments": trained(1, num_envs, *sizes),
    }
    work = planning_steps * steps
    in_turns(programs, [work, work, seeds * work, work], repeats, "imagined steps/s")
    for name, (run, arguments) in programs.items():
        tables = np.asarray(run(*arguments)).reshape(-1, *env.reached.shape)
        found = [greedy_steps(env, q) for q in tables]
        print(f"{name}: {np.mean(found):.1f} greedy steps to the goal, at most {max(found)}")


if __name__ == "__main__":
    main()
