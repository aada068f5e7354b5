"""What many actors and one learner should do together: steps a second, up to 1,024 actors.

    python benchmarks/studies/actor_model.py --from costs.json
    python benchmarks/studies/actor_model.py --from ... --simulator 5e-3 --bandwidth 1.25e8
    python benchmarks/studies/actor_model.py --from ... --plot actors.png
    python benchmarks/studies/actor_model.py --measure costs.json

No cluster is run. `--measure` times the parts on one machine, each alone, and writes the figures to
a file, where they can be replaced by those of another machine. The network is an assumption. The
rest is arithmetic. Each of A actors has a core, and n environments in which it takes T steps:

    act        = T (simulator + policy + policy_row (A - 1) n), where a server's have no last part
    trip       = call + bytes of a trajectory / bandwidth + latency
    learn      = learn_once + learn_step A n T, for the trajectories of all actors
    take       = A (take + bytes of a trajectory / bandwidth)
    publish    = machines x bytes of the parameters / bandwidth + latency

    synchronous       A n T / (act + trip + take + learn + publish)
    asynchronous      A n T / max(act + trip, take + learn + publish)
    parameter server  A n T / max(act + gradient + trip of gradients + trip of parameters,
                                  A (take + absorb) + 2 A bytes of the parameters / bandwidth)

An actor that sends trajectories evaluates the policy on the rows of all actors. `take` is what the
learner's processor does for each trajectory or gradient. One link carries all that the learner
sends and receives. What is left out makes real clusters slower: the slowest actor is waited for,
links are shared with others, and actors fail. `learn` is that of the machine that was measured.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import click

ROOT = Path(__file__).parents[2]
COUNTS = tuple(2**k for k in range(11))


class Costs(NamedTuple):
    """Of one agent and its simulator; seconds and bytes."""

    simulator: float
    """Seconds in which n environments take one step."""
    policy: float
    """Seconds in which an actor chooses n actions and keeps one step."""
    policy_row: float
    """Seconds more for each row of another actor on which it evaluates the policy."""
    gradient: float
    """Seconds in which an actor makes a gradient of a trajectory."""
    learn_once: float
    """Seconds of an iteration of the learner, whatever its batch."""
    learn_step: float
    """Seconds more for each environment step in its batch."""
    absorb: float
    """Seconds in which a parameter server applies a gradient."""
    call: float
    """Seconds from the call of a process of Ray to its answer, a trajectory, on one machine."""
    take: float
    """Seconds of it in which the learner's processor is busy."""
    trajectory_bytes: int
    parameter_bytes: int
    envs: int
    """n, of one actor."""
    length: int
    """T."""


class Network(NamedTuple):
    """Between machines; an assumption."""

    bandwidth: float
    """Bytes/s of the link of each machine, in both directions together."""
    latency: float
    """Seconds from one machine to another."""
    cores: int
    """Actors on one machine."""


def synchronous(costs: Costs, network: Network, actors: int) -> tuple[float, str]:
    """Environment steps a second where the learner waits for all actors, and what takes longest."""
    act, *learner = _parts(costs, network, actors)
    return _rate(costs, actors, act + sum(learner)), "actors" if act > sum(learner) else "learner"


def asynchronous(costs: Costs, network: Network, actors: int) -> tuple[float, str]:
    """The same where actors act while the learner learns."""
    act, take, learn, publish = _parts(costs, network, actors)
    return _slower(costs, actors, act, take + learn + publish)


def parameter_server(costs: Costs, network: Network, actors: int) -> tuple[float, str]:
    """The same where actors send gradients."""
    moved = costs.parameter_bytes / network.bandwidth
    trips = costs.call + 2 * (moved + network.latency)
    act = costs.length * (costs.simulator + costs.policy) + costs.gradient + trips
    server = actors * (costs.take + costs.absorb + 2 * moved)
    return _slower(costs, actors, act, server)


MODES: dict[str, Callable[[Costs, Network, int], tuple[float, str]]] = {
    "synchronous": synchronous,
    "asynchronous": asynchronous,
    "parameter server": parameter_server,
}


def _parts(costs: Costs, network: Network, actors: int) -> tuple[float, float, float, float]:
    """Seconds of an actor's trajectory and its trip; to take all, to learn, and to publish."""
    trip = costs.call + costs.trajectory_bytes / network.bandwidth + network.latency
    machines = -(-actors // network.cores)
    policy = costs.policy + costs.policy_row * (actors - 1) * costs.envs
    return (
        costs.length * (costs.simulator + policy) + trip,
        actors * (costs.take + costs.trajectory_bytes / network.bandwidth),
        costs.learn_once + costs.learn_step * actors * costs.envs * costs.length,
        machines * costs.parameter_bytes / network.bandwidth + network.latency,
    )


def _slower(costs: Costs, actors: int, act: float, learner: float) -> tuple[float, str]:
    rate = _rate(costs, actors, max(act, learner))
    return rate, "actors" if act > learner else "learner"


def _rate(costs: Costs, actors: int, seconds: float) -> float:
    return actors * costs.envs * costs.length / seconds


def table(costs: Costs, network: Network) -> Iterator[str]:
    """Markdown: steps a second in each mode, and which side sets the pace."""
    yield f"| actors | {' | '.join(f'{mode} | pace' for mode in MODES)} |"
    yield f"|{'---|' * (1 + 2 * len(MODES))}"
    for actors in COUNTS:
        found = [mode(costs, network, actors) for mode in MODES.values()]
        yield f"| {actors:,} | {' | '.join(f'{rate:,.0f} | {pace}' for rate, pace in found)} |"


def draw(costs: Costs, slow: float, network: Network, out: Path) -> None:
    """Two panels: the simulator that was measured, and one that takes `slow` seconds a step."""
    from matplotlib.figure import Figure

    from rljax.analysis import plots

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, each in zip(panels, (costs, costs._replace(simulator=slow)), strict=True):
        step = f"{1e6 * each.simulator:,.0f} µs" if each is costs else f"{1e3 * slow:g} ms"
        axes.set(title=f"{each.envs} environments take a step in {step}", xlabel="actors")
        act = each.length * (each.simulator + each.policy)
        ideal = [_rate(each, actors, act) for actors in COUNTS]
        axes.plot(COUNTS, ideal, color="0.6", linestyle=":", label="actors alone")
        for (name, mode), color in zip(MODES.items(), plots.COLOURS, strict=False):
            rates = [mode(each, network, actors)[0] for actors in COUNTS]
            axes.plot(COUNTS, rates, color=color, label=name)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
    panels[0].set_ylabel("environment steps a second (model)")
    panels[0].legend(frameon=False)
    plots.save(figure, out)


def measure(config_path: str, repeats: int) -> Costs:
    """The costs of a config, on this machine: of so many repeats the least, as `timeit` advises."""
    import jax
    import numpy as np

    from rljax.distributed.actors import Actor, Share
    from rljax.distributed.programs import LearningProgram, behaviour_of
    from rljax.distributed.ray_driver import RayDriver
    from rljax.experiments import config

    agent = config.load(config_path).agent()
    state = jax.jit(agent.init)(jax.random.key(0))
    envs = len(state.worker.episode_length)
    length = agent.env_steps_per_iteration // envs
    actor = Actor(agent, agent.env, Share(0, envs, envs), length, list(range(envs)))
    behaviour = behaviour_of(state)
    key = np.asarray(jax.random.key_data(jax.random.key(1)))

    def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
        call()  # It compiles.
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            given = jax.block_until_ready(call())
            times.append(time.perf_counter() - began)
        return min(times), given

    collect, trajectory = seconds(lambda: actor.collect(behaviour, key, False))
    simulator = min([actor.collect(behaviour, key, False).seconds for _ in range(repeats)])
    contribute, contribution = seconds(lambda: actor.contribute(behaviour, key, key))

    def learning(program: LearningProgram, given: Any) -> float:
        held = [jax.tree.map(lambda x: x.copy(), state)]

        def once() -> Any:
            held[0], metrics = program(held[0], given)
            return held[0]

        return seconds(once)[0]

    many = 8
    wide = jax.tree.map(lambda x: np.concatenate([x] * many, axis=1), trajectory.batch)
    small, large = (
        learning(LearningProgram(agent, agent.learn), batch) for batch in (trajectory.batch, wide)
    )
    assert agent.absorb is not None
    absorb = learning(LearningProgram(agent, agent.absorb), contribution.value)
    learn_step = (large - small) / ((many - 1) * envs * length)

    def policy(rows: int) -> float:
        obs = jax.tree.map(lambda x: np.resize(x[0], (rows, *x.shape[2:])), trajectory.batch.obs)
        act = jax.jit(agent.policy)
        carry = agent.initial_carry((rows,))
        return seconds(lambda: act(state, obs, carry, jax.random.key(2)))[0]

    far = 1024
    policy_row = max(0.0, policy(far) - policy(envs)) / (far - envs)

    driver = RayDriver(1)
    try:
        # Only a lambda goes to the process: this module is not importable there.
        handle = driver.launch(lambda: SimpleNamespace(bring=lambda: trajectory))
        busy = []

        def trip() -> Any:
            began = time.perf_counter()
            future = driver.submit(handle, "bring")
            sent = time.perf_counter()
            driver.wait([future], 60.0)
            done = time.perf_counter()
            given = driver.result(future)
            busy.append(sent - began + time.perf_counter() - done)
            return given.batch.reward

        call, _ = seconds(trip)
    finally:
        driver.close()
    return Costs(
        simulator=float(simulator) / length,
        policy=(collect - float(simulator)) / length,
        policy_row=policy_row,
        gradient=max(0.0, contribute - collect),
        learn_once=max(0.0, small - learn_step * envs * length),
        learn_step=learn_step,
        absorb=absorb,
        call=call,
        take=min(busy),
        trajectory_bytes=_bytes(trajectory),
        parameter_bytes=_bytes(state.learner.params),
        envs=envs,
        length=length,
    )


def _bytes(tree: Any) -> int:
    import jax
    import numpy as np

    return sum(np.asarray(x).nbytes for x in jax.tree.leaves(tree))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--from", "path", type=click.Path(path_type=Path), help="A file of --measure.")
@click.option("--measure", "out", type=click.Path(path_type=Path), help="Write such a file.")
@click.option(
    "--config",
    default=str(ROOT / "configs/a3c/gymnasium_cartpole.toml"),
    show_default="configs/a3c/gymnasium_cartpole.toml",
    help="Whose costs to measure: one that a parameter server can train.",
)
@click.option("--repeats", default=50, show_default=True, help="Of each measurement.")
@click.option("--simulator", type=float, help="Seconds of a step, instead of those measured.")
@click.option("--slow", default=5e-3, show_default=True, help="The same, in the second panel.")
@click.option("--bandwidth", default=1.25e9, show_default=True, help="Bytes/s of a link.")
@click.option("--latency", default=5e-5, show_default=True, help="Seconds between machines.")
@click.option("--cores", default=16, show_default=True, help="Actors on a machine.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw it into this file, too.")
def main(path, out, config, repeats, simulator, slow, bandwidth, latency, cores, plot) -> None:
    """Print what actors and a learner should do together. A model, not a measurement."""
    from rljax.experiments.machine import processor

    if (path is None) == (out is None):
        raise click.UsageError("give either --from FILE or --measure FILE")
    if out is not None:
        found = measure(config, repeats)._asdict()
        about = {"config": str(Path(config).name), "machine": processor(), "repeats": repeats}
        out.write_text(json.dumps({"measured": about, "costs": found}, indent=1) + "\n")
        return
    costs = Costs(**json.loads(path.read_text())["costs"])
    if simulator is not None:
        costs = costs._replace(simulator=simulator)
    network = Network(bandwidth, latency, cores)
    print("\n".join(table(costs, network)))
    if plot is not None:
        draw(costs, slow, network, plot)


if __name__ == "__main__":
    main()
