"""Configs: one TOML file is one experiment; nothing here imports JAX until an agent is asked for.

The keys of `Top`, such as `env`, `agent` and `total_env_steps`, stand at the top. `[environment]`
has the parameters that `rljax.make` is given with the name. `[structure]` is what compiling closes
over, `[hparams]` are the hyperparameters, which are traced; both depend on the agent. Then
`[evaluation]`, `[checkpoint]` and `[logging]`. The file replaces defaults, and flags replace the
file.
"""

import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from rljax import agents, envs
from rljax.errors import UsageError, check_known, nearest
from rljax.experiments.config_values import check_key, parse, typed


@dataclass(frozen=True)
class Top:
    """The keys at the top of a config."""

    env: str = ""
    """The environment's name, as `rljax list` prints it."""
    agent: str = "ppo"
    """The agent's name, as `rljax list` prints it."""
    seed: int = 0
    """The random seed; with several seeds, of the first one, and the others count up from it."""
    num_seeds: int = 1
    """How many seeds train together, vmapped."""
    total_env_steps: int = 1_000_000
    """How long to train, in environment steps per seed."""
    schedule_env_steps: int = 0
    """Environment steps over which schedules run, such as the learning rate's; 0 for the run's."""
    devices: int = 1
    """How many devices share the work; 0 for all there are, those of other hosts included."""
    spread: str = "environments"
    """What they share: the "environments" of each seed, or the "seeds"."""
    actors: int = 1
    """How many actors share the environments of a simulator of the host."""
    driver: str = "threads"
    """What runs actors: the "threads" of this process, or "ray"."""
    ray_address: str = ""
    """The address of a Ray cluster; empty to start one on this machine."""
    parameter_server: bool = False
    """Whether actors send gradients, or changes of a table, instead of experience."""


@dataclass(frozen=True)
class Evaluation:
    """Full episodes under the policy so far."""

    episodes: int = 64
    """Episodes per seed."""
    interval_env_steps: int = 0
    """Environment steps from one evaluation to the next; 0 for a tenth of the run."""
    deterministic: bool = True
    """Greedy actions, or sampled ones."""


@dataclass(frozen=True)
class Checkpoint:
    """The whole state on disk."""

    interval_env_steps: int = 0
    """Environment steps from one checkpoint to the next; 0 for a tenth of the run."""
    keep: int = 2
    """How many of the latest to keep; the one that evaluated best is kept besides."""


@dataclass(frozen=True)
class Logging:
    """Rows of metrics, and the picture drawn from them."""

    interval_env_steps: int = 0
    """Environment steps from one row to the next; 0 for a two-hundredth of the run."""
    plot: bool = True
    """Whether to draw curve.png while training."""
    to: tuple[str, ...] = ()
    """Where rows go besides metrics.jsonl: "csv", "mlflow", "tensorboard", "wandb"."""


SECTIONS = {"evaluation": Evaluation, "checkpoint": Checkpoint, "logging": Logging}
AGENT_SECTIONS = ("structure", "hparams")
ENVIRONMENT = "environment"
"""The section of the environment's parameters; the environment says which there are."""
PYTHON_ONLY = (
    "agent",
    "hparams",
    "total_env_steps",
    "schedule_env_steps",
    "first",
    "advantage",
    "auxiliary_loss",
)
"""Arguments of an agent that stand elsewhere in a config, or that no text could name."""
SPREADS = ("environments", "seeds")
LOGGERS = ("csv", "mlflow", "tensorboard", "wandb")
RESUMABLE = (
    "total_env_steps",
    "schedule_env_steps",
    "devices",
    "actors",
    "driver",
    "ray_address",
    "parameter_server",
    "evaluation.",
    "checkpoint.",
    "logging.",
)
"""What a resumed run may change; anything else would make it another run."""


@dataclass(frozen=True)
class Config:
    """An experiment, every value resolved."""

    top: Top
    structure: dict[str, Any]
    hparams: dict[str, float]
    environment: dict[str, Any]
    evaluation: Evaluation
    checkpoint: Checkpoint
    logging: Logging
    sources: dict[str, str] = field(compare=False)  # dotted key to where its value is from

    def values(self) -> dict[str, Any]:
        """Every value by its dotted key, `None` where an agent decides for itself."""
        flat = vars(self.top).copy()
        for section in (*AGENT_SECTIONS, ENVIRONMENT, *SECTIONS):
            table = getattr(self, section)
            table = table if isinstance(table, dict) else vars(table)
            flat |= {f"{section}.{key}": value for key, value in table.items()}
        return flat

    def toml(self) -> str:
        """The config as TOML, with where each value came from behind it."""
        import tomlkit

        document = tomlkit.document()
        for key, value in self.values().items():
            section, _, name = key.rpartition(".")
            if value is None:
                continue
            if section and section not in document:
                document[section] = tomlkit.table()
            item = tomlkit.item(value)
            item.comment(self.sources[key])
            (document[section] if section else document)[name] = item  # type: ignore[index]
        return tomlkit.dumps(document)

    def varied(self, values: Mapping[str, Any], source: str) -> "Config":
        """The config with other structure and hyperparameters (dotted key to value of its type)."""

        def section(name: str) -> dict[str, Any]:
            own = {k.split(".")[1]: v for k, v in values.items() if k.startswith(f"{name}.")}
            return {**getattr(self, name), **own}

        return replace(
            self,
            structure=section("structure"),
            hparams=section("hparams"),
            sources={**self.sources, **dict.fromkeys(values, source)},
        )

    def env(self, **params: Any) -> Any:
        """The environment it describes, with further parameters. Imports JAX."""
        return envs.make(self.top.env, **self.environment, **params)

    def agent(self) -> Any:
        """The agent it describes: one, whatever `num_seeds` is. Imports JAX."""
        make_agent = agents.factory(self.top.agent)
        return make_agent(
            self.env(),
            total_env_steps=self.top.total_env_steps,
            schedule_env_steps=self.top.schedule_env_steps or None,
            hparams=make_agent.Hparams(**self.hparams),
            **self.structure,
        )


def load(path: str | Path, flags: Mapping[str, str] | None = None) -> Config:
    """The config in a file, with flags (dotted key to text) on top.

    Raises UsageError, in one sentence, for a file that is missing or not TOML, a key or name that
    nobody knows (with the nearest one that is), and a value of the wrong kind.
    """
    tables = read(path)
    return resolve(_flatten(tables, str(path)), flags or {}, str(path))


def read(path: str | Path, what: str = "config") -> dict[str, Any]:
    """The tables of a TOML file; UsageError, which calls it `what`, if they cannot be read."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise UsageError(f"{what} {path} does not exist") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{what} {path} cannot be read as TOML: {error}") from None


def resolve(file: Mapping[str, Any], flags: Mapping[str, str], path: str = "config") -> Config:
    """A config from dotted keys: `file` holds TOML values, `flags` text from a command line."""
    given = {key: (value, path) for key, value in file.items()}
    given |= {key: (parse(text), f"--{key.replace('_', '-')}") for key, text in flags.items()}
    origin = {key: "file" for key in file} | {key: "command line" for key in flags}

    schema = {f.name: (f.type, f.default) for f in fields(Top)}
    for section, kind in SECTIONS.items():
        schema |= {f"{section}.{f.name}": (f.type, f.default) for f in fields(kind)}
    later = (*AGENT_SECTIONS, ENVIRONMENT)
    for key, (_, where) in given.items():
        if key.partition(".")[0] not in later:
            check_key(key, [*schema, *(f"{s}." for s in later)], where)
    values = typed(schema, given)
    if not values["env"]:
        raise UsageError(f'{path} names no environment: write env = "CartPole-v1", say')
    envs.check_name(values["env"])
    agents.check_name(values["agent"])
    _check_range(values)

    schema |= agent_schema(values["agent"])
    parameters = {key: value for key, (value, _) in given.items() if _is_parameter(key)}
    given = {key: value for key, value in given.items() if key not in parameters}
    for key, (_, where) in given.items():
        check_key(key, schema, where)
    values = {**typed(schema, given), **parameters}

    def table(section: str) -> dict[str, Any]:
        return {k.split(".")[1]: v for k, v in values.items() if k.startswith(section + ".")}

    return Config(
        top=Top(**{f.name: values[f.name] for f in fields(Top)}),
        structure=table("structure"),
        hparams=table("hparams"),
        environment=table(ENVIRONMENT),
        evaluation=Evaluation(**table("evaluation")),
        checkpoint=Checkpoint(**table("checkpoint")),
        logging=Logging(**table("logging")),
        sources={key: origin.get(key, "default") for key in values},
    )


def _is_parameter(key: str) -> bool:
    section, _, name = key.partition(".")
    return section == ENVIRONMENT and bool(name)


def agent_schema(name: str) -> dict[str, tuple[Any, Any]]:
    """Dotted key to (type, default) of an agent's structure and hyperparameters. Imports JAX."""
    make_agent = agents.factory(name)
    schema = {
        f"structure.{p.name}": (p.annotation, p.default)
        for p in inspect.signature(make_agent, eval_str=True).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.name not in PYTHON_ONLY
    }
    return schema | {f"hparams.{f.name}": (float, f.default) for f in fields(make_agent.Hparams)}


def differences(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted key to (old, new) where two configs differ."""
    before, after = old.values(), new.values()
    return {
        key: (before.get(key), after.get(key))
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    }


def _flatten(tables: Mapping[str, Any], path: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if key in SECTIONS or key in AGENT_SECTIONS or key == ENVIRONMENT:
            if not isinstance(value, dict):
                raise UsageError(f"{path}: {key} is a section: write [{key}] above its keys")
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        elif isinstance(value, dict):
            known = [*SECTIONS, *AGENT_SECTIONS, ENVIRONMENT]
            raise UsageError(f"{path}: section [{key}] is not known{nearest(key, known)}")
        else:
            flat[key] = value
    return flat


def _check_range(values: Mapping[str, Any]) -> None:
    least = {
        "num_seeds": 1,
        "total_env_steps": 1,
        "schedule_env_steps": 0,
        "seed": 0,
        "devices": 0,
        "actors": 1,
        "evaluation.episodes": 1,
        "evaluation.interval_env_steps": 0,
        "checkpoint.interval_env_steps": 0,
        "checkpoint.keep": 1,
        "logging.interval_env_steps": 0,
    }
    for key, minimum in least.items():
        if values[key] < minimum:
            raise UsageError(f"{key} must be at least {minimum}, not {values[key]}")
    check_known("spread", values["spread"], SPREADS)
    for name in values["logging.to"]:
        check_known("logging.to:", name, LOGGERS)
    if values["spread"] == "seeds" and values["num_seeds"] == 1:
        raise UsageError('spread = "seeds" is for several seeds: set num_seeds, too')
