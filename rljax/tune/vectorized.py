"""Methods whose trials are the members of one population, in which only the best go on."""

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rljax.analysis.plots import save
from rljax.errors import UsageError
from rljax.experiments import metrics
from rljax.experiments.checkpoints import Checkpoints
from rljax.experiments.directory import RunDirectory
from rljax.experiments.experiment import iterations
from rljax.experiments.hooks import evaluation_row, recording, saving
from rljax.parallel import processes
from rljax.parallel.pmap import pmap
from rljax.parallel.vmap import vmap
from rljax.training.compilation import described
from rljax.training.faults import Fault, are_finite
from rljax.training.interrupts import Interrupts
from rljax.training.loop import train
from rljax.training.rows import Row, plain
from rljax.tune import figures
from rljax.tune.batch_training import Program, hparams_of, of_members, outcome, shares
from rljax.tune.halving import Rung, schedule
from rljax.tune.halving import halving as successive_halving
from rljax.tune.methods import Method
from rljax.tune.pbt import pbt as population_based_training
from rljax.tune.search import sample, with_trials
from rljax.tune.settings import Sweep
from rljax.tune.space import Choice
from rljax.tune.trials import Batch, Outcome, Trial, ranked
from rljax.types import Agent, Hparams, Key, State


def _complete(sweep: Sweep) -> Sweep:
    name = sweep.settings.method
    for key in sweep.space:
        if key.startswith("structure."):
            raise UsageError(
                f"{key} cannot vary with the method {name!r}: all trials train in one program, "
                "and structure is what is compiled"
            )
    if sweep.settings.seeds != 1:
        raise UsageError(
            f"with the method {name!r} each trial is trained once: leave out "
            f"seeds = {sweep.settings.seeds}"
        )
    return with_trials(sweep)


def _complete_pbt(sweep: Sweep) -> Sweep:
    sweep = _complete(sweep)
    for key, distribution in sweep.space.items():
        if isinstance(distribution, Choice):
            raise UsageError(
                f"{key} is a list of values, and pbt moves numbers within bounds: write "
                "{ low = ..., high = ... }"
            )
    if sweep.settings.trials == 1:
        raise UsageError('the method "pbt" needs at least 2 trials: one has nobody to learn from')
    return sweep


def _complete_halving(sweep: Sweep) -> Sweep:
    sweep = _complete(sweep)
    assert sweep.settings.trials is not None
    schedule(sweep.config.agent(), sweep.settings.trials, **_cuts(sweep))  # Refuses what is amiss.
    return sweep


class Evolution:
    """Trains all trials by population-based training; a killed one goes on where it was saved."""

    def __init__(self, sweep: Sweep, keep: Path | None) -> None:
        assert keep is not None
        self._sweep, self._run = sweep, RunDirectory(keep)

    def __call__(self, batch: Batch) -> list[Outcome]:
        """Train all trials, and evaluate them at the end."""
        sweep, trials = self._sweep, batch.trials
        seeds = sweep.config.top.seed + jnp.arange(len(trials))
        agent = self._agent(len(trials))
        states = self._train(
            agent, jax.vmap(jax.random.key)(seeds), hparams_of(sweep.config, trials)
        )
        rows = metrics.read(self._run.metrics)
        found = _outcomes(sweep, trials, rows, states, seeds)
        final = {key: np.asarray(getattr(states.hparams, key.split(".")[1])) for key in sweep.space}
        found = [
            replace(o, became={key: float(values[i]) for key, values in final.items()})
            for i, o in enumerate(found)
        ]
        if best := ranked(found):
            save(figures.draw_schedule(sweep, rows, best[0]), self._run.path / "schedule.png")
        return found

    def _agent(self, members: int) -> Agent:
        config, settings = self._sweep.config, self._sweep.settings
        ranges = {
            key.split(".")[1]: d
            for key, d in self._sweep.space.items()
            if not isinstance(d, Choice)
        }
        agent = population_based_training(
            config.agent(),
            ranges,
            interval_env_steps=settings.interval_env_steps or None,
            num_episodes=config.evaluation.episodes,
            deterministic=config.evaluation.deterministic,
        )
        # On any number of devices it is the same population.
        share = max(d for d in range(1, settings.devices + 1) if members % d == 0)
        return agent if share == 1 else pmap(agent, share)

    def _train(self, agent: Agent, keys: Key, hparams: Hparams) -> State:
        config, run = self._sweep.config, self._run
        run.path.mkdir(exist_ok=True)
        run.metrics.touch()
        checkpoints = Checkpoints(run.checkpoints, config.checkpoint.keep)
        shapes = jax.eval_shape(agent.init, keys, hparams)
        states, _ = checkpoints.restore_latest(described(agent, shapes))
        done = iterations(states)
        metrics.rewind(run.metrics, done)
        interrupts = Interrupts()
        try:
            states, _ = train(
                agent,
                jax.jit(agent.init)(keys, hparams) if states is None else states,
                hooks=[
                    recording(run),
                    saving(config, agent, checkpoints, interrupts, agent.env_steps(done)),
                ],
                interrupts=interrupts,
                warn=lambda sentence: None,  # The sweep warns, of its trials by number.
            )
        finally:
            checkpoints.close()
        if interrupts.received is not None:
            signal.raise_signal(interrupts.received)
        return states


class Ladder:
    """Trains all trials by successive halving; a killed one goes on from its last rung."""

    def __init__(self, sweep: Sweep, keep: Path | None) -> None:
        assert keep is not None
        self._sweep, self._run = sweep, RunDirectory(keep)

    def __call__(self, batch: Batch) -> list[Outcome]:
        """Train all trials as far as they come; those that come to the end are evaluated anew.

        All begin with the config's seed: a trial is trained as a run of it alone would be.
        """
        sweep, trials, run = self._sweep, batch.trials, self._run
        config = sweep.config
        agent = config.agent()
        run.path.mkdir(exist_ok=True)
        run.metrics.touch()
        metrics.rewind(run.metrics, agent.num_iterations)
        records = metrics.read(run.metrics)  # one for each rung
        checkpoints = Checkpoints(run.checkpoints)
        rows: list[Row] = []
        start = rung = self._last(agent, len(trials), records, checkpoints)
        for rung in successive_halving(
            agent,
            start or jnp.broadcast_to(jax.random.key(config.top.seed), len(trials)),
            hparams_of(config, trials),
            num_episodes=config.evaluation.episodes,
            deterministic=config.evaluation.deterministic,
            hooks=[lambda state, row: rows.append(row)],
            **_cuts(sweep),
        ):
            checkpoints.save(rung.states)
            record = {
                "iteration": iterations(rung.states),
                "env_steps": rung.env_steps,
                "members": rung.members.tolist(),
                "fitness": plain(rung.fitness),
                "rows": rows[:],
            }
            metrics.append(run.metrics, record)  # Now the rung counts as climbed.
            records.append(record)
            rows.clear()
        checkpoints.close()
        assert rung is not None
        found = self._left_behind(trials, records[:-1])
        ended = [trials[number] for number in rung.members]
        seeds = jnp.full(len(ended), config.top.seed)
        for o in _outcomes(sweep, ended, records[-1]["rows"], rung.states, seeds):
            before = found[o.trial.number].rows if o.trial.number in found else ()
            found[o.trial.number] = replace(o, rows=[*before, *o.rows])
        return [found[trial.number] for trial in trials]

    def _last(
        self, agent: Agent, began: int, records: Sequence[Row], checkpoints: Checkpoints
    ) -> Rung | None:
        if not records:
            return None
        last = records[-1]
        members, population = np.array(last["members"]), vmap(agent)
        keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), len(members)))
        like = described(population, jax.eval_shape(population.init, keys))
        states = checkpoints.restore(like, last["iteration"])
        fitness = np.array(last["fitness"], np.float32)
        return Rung(began, last["env_steps"], members, fitness, states)

    def _left_behind(self, trials: Sequence[Trial], records: Sequence[Row]) -> dict[int, Outcome]:
        """What is known of each trial from the rungs it has climbed, by number."""
        found: dict[int, Outcome] = {}
        for record in records:
            for place, number in enumerate(record["members"]):
                before = found[number].rows if number in found else ()
                value = record["fitness"][place]
                mine = [of_members(row, slice(place, place + 1)) for row in record["rows"]]
                found[number] = Outcome(
                    trials[number],
                    seeds=(value,),
                    value=value,
                    episodes=self._sweep.config.evaluation.episodes,
                    env_steps=record["env_steps"],
                    failure=DIVERGED if value is None else None,
                    rows=[*before, *mine],
                )
        return found


DIVERGED = "diverged: what it had learnt was not finite when it was evaluated"


def _outcomes(
    sweep: Sweep, trials: Sequence[Trial], rows: list[Row], states: State, seeds: jax.Array
) -> list[Outcome]:
    """Outcomes of members that trained to the end, from an evaluation of their last states."""
    program = Program(sweep.config, 1, len(trials), 1)
    result = processes.fetch(program.evaluate(states, seeds))
    rows = [*rows[:-1], rows[-1] | evaluation_row(result)]
    steps, done = rows[-1]["env_steps"], rows[-1]["iteration"]
    finite = np.all(jax.tree.leaves(processes.fetch(are_finite(states.learner, 1))), axis=0)
    faults = {
        int(i): Fault(done, steps, "what it learnt is not finite", ())
        for i in np.flatnonzero(~finite)
    }
    return [
        outcome(trial, members, rows, result, faults, steps, sweep.settings.objective)
        for trial, members in zip(trials, shares(1), strict=False)
    ]


def _cuts(sweep: Sweep) -> dict[str, Any]:
    settings = sweep.settings
    return {"eta": settings.eta, "first_env_steps": settings.first_env_steps or None}


pbt = Method(_complete_pbt, sample, Evolution, is_one_batch=True, seeds=1)
halving = Method(_complete_halving, sample, Ladder, is_one_batch=True, seeds=1)
