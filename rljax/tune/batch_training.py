"""How the trials of a batch train: trials x seeds, the members of one vmapped program."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax import agents
from rljax.errors import ceil_div
from rljax.experiments import metrics
from rljax.experiments.config import Config
from rljax.experiments.hooks import evaluation_key, evaluation_row, every
from rljax.parallel import processes
from rljax.parallel.pmap import over_members, pmap
from rljax.parallel.vmap import vmap
from rljax.replay import capacity, size_in_bytes
from rljax.statistics import STATISTICS, interval
from rljax.training.compilation import Chunk, compile_chunk
from rljax.training.evaluation import Evaluation, episodes
from rljax.training.faults import Fault
from rljax.training.loop import advance
from rljax.training.rows import Row
from rljax.tune.settings import Sweep
from rljax.tune.trials import Batch, Outcome, Trial
from rljax.types import Agent, State

# Bytes of states that a core has at hand. On one with 1 MiB of L2, PPO with two nets of 64x64 (107
# KiB of learner) trained as fast with 4 to 16 members to a device, and a sixth slower with 32.
CACHE = 2**21
MOST_MEMBERS = 2**16  # on one device, whatever its memory
ROWS = 50  # of metrics for each trial


def members_at_once(agent: Agent, num_devices: int) -> int:
    """How many members train fastest together, on so many devices.

    On a GPU or TPU, all that fit: half of its memory is for their states, and half for what they
    work with. On a CPU, as many as keep what they touch in every iteration in the cache of a core.
    """
    shapes = jax.eval_shape(agent.init, jax.random.key(0))
    on_cpu = jax.local_devices()[0].platform == "cpu"
    touched = size_in_bytes(shapes) - size_in_bytes(shapes.worker.replay)
    most = CACHE // touched if on_cpu else MOST_MEMBERS
    free = capacity.free_memory()
    if free is not None:
        shared_by = num_devices if on_cpu else 1
        most = min(most, free // (2 * size_in_bytes(shapes) * shared_by))
    return max(1, most) * num_devices


class Program:
    """What batches of one structure and size have in common: their agent, and compiled functions.

    Args:
        config: with the structure of the batch.
        seeds: of each trial.
        size: how many trials there is room for.
        num_devices: how many devices share the members.
    """

    def __init__(self, config: Config, seeds: int, size: int, num_devices: int) -> None:
        self.config, self.seeds = config, seeds
        # A multiple of the devices: what is left over is trained twice.
        self.members = ceil_div(size * seeds, num_devices) * num_devices
        alone = config.agent()
        self.agent = vmap(alone)
        how = config.evaluation
        play = episodes(alone, how.episodes, how.deterministic)

        def evaluation(state: State, seed: jax.Array) -> Evaluation:
            return play(state, jax.random.fold_in(evaluation_key(seed), state.iteration))

        evaluations = jax.vmap(evaluation)
        if num_devices > 1:
            self.agent = pmap(self.agent, num_devices)
            evaluations = over_members(evaluations, num_devices)
        self.init = jax.jit(self.agent.init)
        self.evaluate = jax.jit(evaluations)
        """(states, seeds [P]) to an evaluation [P]: of each, that of the run of its seed alone."""
        self._chunk: Chunk | None = None

    def begin(self, trials: Sequence[Trial]) -> tuple[State, jax.Array]:
        """States and seeds [P] of the members: all seeds of the first trial, then the second's."""
        filled = [trials[i // self.seeds % len(trials)] for i in range(self.members)]
        seeds = self.config.top.seed + jnp.arange(self.members) % self.seeds
        return self.init(jax.vmap(jax.random.key)(seeds), hparams_of(self.config, filled)), seeds

    def chunk(self, state: State) -> Chunk:
        """Some iterations of all members; compiled when it is first asked for."""
        if self._chunk is None:
            interval = self.config.logging.interval_env_steps
            wanted = interval // self.agent.env_steps_per_iteration if interval else 0
            length = max(1, wanted or self.agent.num_iterations // ROWS)
            self._chunk = compile_chunk(self.agent, state, length)
        return self._chunk


def hparams_of(config: Config, trials: Sequence[Trial]) -> Any:
    """Hyperparameters of trials of a config, leaves [P]."""
    numbers = [config.varied(trial.params, "sweep").hparams for trial in trials]
    kind = agents.factory(config.top.agent).Hparams
    return kind(**{k: np.array([n[k] for n in numbers], np.float32) for k in numbers[0]})


class Trainer:
    """Trains batches to their end; members that diverge do so without disturbing the others."""

    def __init__(self, sweep: Sweep, keep: Path | None = None) -> None:
        self._sweep = sweep  # A batch trains in one go: there is nothing to keep.
        self._programs: dict[str, Program] = {}

    def __call__(self, batch: Batch) -> list[Outcome]:
        """Train and evaluate all seeds of all trials of a batch."""
        program = self.program(batch)
        config, agent = program.config, program.agent
        start, seeds = program.begin(batch.trials)
        faults: dict[int, Fault] = {}
        rows: list[Row] = []
        steps = agent.env_steps(agent.num_iterations)
        is_due = every(config.evaluation.interval_env_steps or steps, agent, 0)

        def note(found: dict[int, Fault]) -> None:
            faults.update(found | faults)  # the first of each member

        for state, row in advance(agent, program.chunk(start), start, note):
            if is_due(row):
                result = processes.fetch(program.evaluate(state, seeds))
                row |= evaluation_row(result)
            rows.append(row)
        return [
            outcome(trial, members, rows, result, faults, steps, self._sweep.settings.objective)
            for trial, members in zip(batch.trials, shares(program.seeds), strict=False)
        ]

    def program(self, batch: Batch) -> Program:
        """What trains the batch; the same for all of one structure and size."""
        settings = self._sweep.settings
        key = repr((sorted(batch.structure.items()), batch.size))
        if key not in self._programs:
            config = self._sweep.config.varied(batch.structure, "sweep")
            self._programs[key] = Program(config, settings.seeds, batch.size, settings.devices)
        return self._programs[key]


def shares(seeds: int) -> Iterator[slice]:
    """The members of the first trial of a batch, of the second, and so on."""
    return (slice(start, start + seeds) for start in itertools.count(0, seeds))


def outcome(
    trial: Trial,
    members: slice,
    rows: Sequence[Row],
    result: Evaluation,
    faults: Mapping[int, Fault],
    env_steps: int,
    objective: str | None,
) -> Outcome:
    """What became of a trial, from what is known of all members of its batch.

    Args:
        trial: which one.
        members: its seeds among the members.
        rows: metrics of all members; the last one has been evaluated.
        result: that evaluation, [P, episodes].
        faults: of the members that diverged.
        env_steps: that each member trained.
        objective: which of `statistics.STATISTICS` is maximised.
    """
    assert objective is not None
    mine = [of_members(row, members) for row in rows]
    ends = [faults.get(member) for member in range(members.start, members.stop)]
    scores = [
        None if end else float(score)
        for end, score in zip(ends, np.atleast_1d(mine[-1][metrics.EVALUATED]), strict=True)
    ]
    done = Outcome(
        trial, tuple(scores), episodes=int(result.returns.shape[-1]), env_steps=env_steps, rows=mine
    )
    lost = [(end.iteration, seed, end) for seed, end in enumerate(ends) if end]
    if lost:
        first, seed, end = min(lost, key=lambda each: each[:2])
        return replace(
            done,
            failure=f"seed {seed} diverged at env step {end.env_steps}: {end.what}",
            rows=[row for row in mine if row["iteration"] < first],
        )
    values, statistic = np.array(scores, float)[:, None], STATISTICS[objective]
    bounds = interval(statistic, values)
    pick = members if len(scores) > 1 else members.start
    return replace(
        done,
        value=float(statistic(values)),
        interval=bounds and (float(bounds[0]), float(bounds[1])),
        evaluation=jax.tree.map(lambda x: x[pick], result).summary(env_steps),
    )


def of_members(row: Row, members: slice) -> Row:
    """A row of a population as that of some of its members: of one, with numbers for lists."""
    all_of_them = len(row["charts/episodes"])
    count = members.stop - members.start

    def one(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return value[members] if count > 1 else value[members.start]

    return {name: one(value) for name, value in row.items()} | {
        "charts/SPS": row["charts/SPS"] * count / all_of_them
    }
