r"""What keeps DQN's action values sound on CartPole: single changes of its config, several seeds.

    python benchmarks/studies/dqn_stability.py --out dqn_stability.png \
        --from benchmarks/results/dqn_stability.json

Each variant trains as `configs/dqn/cartpole.toml` says, with the one change in its name. The plot
shows the mean return of each seed in 64 episodes at the end; the estimated value of the sampled
actions, whose true value is at most 100 (a reward of 1 each step, discounted by 0.99); and the part
of the hidden units that no observation in the replay buffer activates. `--json` writes the figures
to a file, and `--from` plots the figures of a file without measuring again.
"""

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import rljax
from rljax.experiments import config
from rljax.replay import uniform

CONFIG = Path(__file__).parents[2] / "configs/dqn/cartpole.toml"
ONE_STEP = {"structure.n_step": "1"}
VARIANTS: dict[str, dict[str, str]] = {
    "the config: 5 steps, replay of all": {},
    "5 steps, replay of 50k": {"structure.buffer_size": "50_000"},
    "1 step": ONE_STEP,
    "1 step, replay of 50k": {**ONE_STEP, "structure.buffer_size": "50_000"},
    "1 step, Huber's loss": {**ONE_STEP, "structure.loss": "huber"},
    "1 step, half the learning rate": {**ONE_STEP, "hparams.lr": "2.5e-4"},
    "1 step, no annealing": {**ONE_STEP, "structure.anneal_lr": "false"},
    "1 step, target copied": {
        **ONE_STEP,
        "hparams.tau": "1.0",
        "structure.target_period": "100",
    },
}
ROWS = 25  # of the curves
BOUND = 100.0  # of values: 1 / (1 - 0.99)


def dead_units(params, obs: jax.Array) -> jax.Array:
    """The part [] of hidden units, of a plain MLP of ReLUs, that are 0 for all of obs [B, F]."""
    layers = [layer for _, layer in sorted(params["params"]["MLP_0"].items())]
    x, dead = obs, []
    for layer in layers:
        x = jax.nn.relu(x @ layer["kernel"] + layer["bias"])
        dead.append(jnp.all(x == 0, axis=0))
    return jnp.mean(jnp.concatenate(dead))


def measure(flags: dict[str, str], seed: int, num_seeds: int) -> dict:
    """Train one variant: its returns, and its curves of values and dead units."""
    agent = config.load(CONFIG, flags).agent()
    population = rljax.vmap(agent)
    keys = jax.vmap(jax.random.key)(seed + jnp.arange(num_seeds))
    sample = uniform(1024, 1024).sample

    @jax.jit
    @jax.vmap
    def dead(state):
        return dead_units(
            state.learner.params["online"], sample(state.worker.replay, state.key).obs[0]
        )

    curve = []

    def watch(state, row):
        curve.append((row["env_steps"], row["losses/q_values"], np.asarray(dead(state)).tolist()))

    rows = max(1, agent.num_iterations // ROWS)
    states, _ = rljax.train(population, keys, hooks=[watch], chunk_iterations=rows)
    returns = rljax.evaluate(population, states, jax.random.key(1), 64).returns
    steps, values, dead_parts = zip(*curve, strict=True)
    return {
        "returns": np.asarray(returns).mean(axis=1).tolist(),
        "env_steps": steps,
        "values": values,
        "dead": dead_parts,
    }


def draw(measured: dict[str, dict], out: Path) -> None:
    """Plot all variants, with a panel for each of the three figures."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    ends, values, dead = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    for number, found in enumerate(measured.values()):
        colour = "black" if number == 0 else f"C{number - 1}"
        returns = np.array(found["returns"])
        ends.scatter(returns, np.full(len(returns), number), s=18, color=colour, alpha=0.6)
        ends.plot(returns.mean(), number, "|", color=colour, markersize=16, markeredgewidth=2)
        steps = np.array(found["env_steps"]) / 1000
        values.plot(steps, np.mean(found["values"], axis=1), color=colour)
        dead.plot(steps, np.mean(found["dead"], axis=1), color=colour)
    ends.set(yticks=range(len(measured)), yticklabels=list(measured), xlim=(0, 510))
    ends.invert_yaxis()
    ends.set(xlabel="return at the end: seeds, and their mean")
    values.axhline(BOUND, color="grey", linestyle=":")
    values.set(xlabel="1000 environment steps", title="estimated value", ylim=(0, 4 * BOUND))
    dead.set(xlabel="1000 environment steps", title="dead hidden units", ylim=(0, 1))
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=80)


def main(words: list[str] | None = None) -> None:
    """Measure or read, then print and plot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--from", dest="given", type=Path, help="read the figures from this file")
    parser.add_argument("--out", type=Path, help="the .png file of the plot")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-seeds", type=int, default=8)
    parser.add_argument("--env-steps", help="instead of the config's")
    options = parser.parse_args(words)
    measured = json.loads(options.given.read_text()) if options.given else {}
    shorter = {"total_env_steps": options.env_steps} if options.env_steps else {}
    for name, flags in {} if options.given else VARIANTS.items():
        measured[name] = measure({**flags, **shorter}, options.seed, options.num_seeds)
        if options.json:
            options.json.write_text(json.dumps(measured) + "\n")
    for name, found in measured.items():
        returns, values = np.array(found["returns"]), np.mean(found["values"], axis=1)
        print(
            f"{name:24} mean {returns.mean():6.1f}  worst {returns.min():6.1f}  largest value "
            f"{values.max():7.1f}  dead {np.mean(found['dead'][-1]):.2f}"
        )
    if options.out:
        draw(measured, options.out)


if __name__ == "__main__":
    main()
