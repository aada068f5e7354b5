"""The search space, the commands and the program of docs/sweeps.md, as they stand."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from rljax import tune
from rljax.cli import main
from rljax.tune import methods

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/sweeps.md").read_text()
COMMANDS = re.findall(r"^rljax sweep .*$", PAGE, re.M)


@pytest.fixture
def asked(monkeypatch, finished):
    """What `sweeps.run` would have run; it finds what another sweep has found."""
    asked = []

    def run(config, space, run_dir=None, driver="local", report=None, command=(), **given):
        asked.append(tune.resolve(config, space, **given))
        return finished

    monkeypatch.setattr(tune, "run", run)
    monkeypatch.setattr("rljax.cli.sweep._prepare", lambda driver: None)
    monkeypatch.chdir(ROOT)
    return asked


def test_its_space_is_one():
    pytest.importorskip("optuna")
    [space] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    sweep = tune.resolve(ROOT / "configs/ppo/cartpole.toml", tomllib.loads(space))
    assert len(sweep.space) == 4 and sweep.settings.trials == 64


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_understood(command, asked, capsys):
    if "bayes" in command:
        pytest.importorskip("optuna")
    assert main(shlex.split(command)[1:]) == 0
    [sweep] = asked
    assert ("--seed 1" in command) == (sweep.config.top.seed == 1)
    assert sweep.settings.batch == (8 if "--batch 8" in command else 0)
    assert "mean return: mean of 2 seeds, 4 episodes each" in capsys.readouterr().out


def test_its_program_runs(asked, capsys):
    [program] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(program, {})
    assert asked[0].settings.trials == 16 and "hparams.lr" in capsys.readouterr().out


def test_it_knows_every_method_and_setting():
    settings = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M))
    from rljax.tune.settings import names

    assert set(names()) <= settings
    assert all(f"`{method}`" in PAGE for method in methods.METHODS)
