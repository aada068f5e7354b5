import subprocess
import sys

import pytest

from rljax.errors import UsageError
from rljax.experiments import config, config_values

GOOD = """
env = "CartPole-v1"
total_env_steps = 1e4
[structure]
num_envs = 8
hidden = [16, 16]
[hparams]
lr = 1e-3
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return write


def test_flags_win_over_the_file_and_the_file_over_defaults(write):
    flags = {"structure.num_envs": "16", "seed": "3", "structure.activation": "relu"}
    loaded = config.load(write(GOOD), flags)
    assert loaded.structure["num_envs"] == 16
    assert loaded.structure["hidden"] == (16, 16)
    assert loaded.structure["num_epochs"] == 4
    assert loaded.top.total_env_steps == 10_000
    assert loaded.hparams["lr"] == 1e-3
    sources = {k: loaded.sources[k] for k in ("seed", "hparams.lr", "structure.num_epochs")}
    assert sources == {
        "seed": "command line",
        "hparams.lr": "file",
        "structure.num_epochs": "default",
    }


def test_what_it_writes_it_reads_back_the_same(write):
    loaded = config.load(write(GOOD))
    text = loaded.toml()
    assert "lr = 0.001 # file" in text and "num_epochs = 4 # default" in text
    assert config.load(write(text)) == loaded


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('env = "CartPole-v2"', "did you mean 'CartPole-v1'"),
        ('env = "CartPole-v1"\nagent = "pppo"', "did you mean 'ppo'"),
        ('env = "CartPole-v1"\nsed = 1', "did you mean 'seed'"),
        ('env = "CartPole-v1"\n[hparam]\nlr = 1', "did you mean 'hparams'"),
        ('env = "CartPole-v1"\n[hparams]\nlearning_rate = 1', "hparams."),
        ('env = "CartPole-v1"\n[hparams]\ngama = 1.0', "did you mean 'hparams.gamma'"),
        ('env = "CartPole-v1"\n[structure]\nnum_env = 1', "did you mean 'structure.num_envs'"),
        ('env = "CartPole-v1"\n[structure]\nnum_envs = 1.5', "whole number, not 1.5"),
        ('env = "CartPole-v1"\n[structure]\nhidden = ["a"]', "list of whole numbers"),
        ('env = "CartPole-v1"\n[structure]\nclip_value = 1', "true or false, not 1"),
        ('env = "CartPole-v1"\n[logging]\nto = ["csb"]', "logging.to: 'csb' is not known; did you"),
        ('env = "CartPole-v1"\n[logging]\nto = [1]', "list of texts, not [1]"),
        ('env = "CartPole-v1"\n[logging]\nto = true', "list of texts, not True"),
        ('env = "CartPole-v1"\n[hparams]\nlr = "fast"', "a number, not 'fast'"),
        ('env = "CartPole-v1"\nnum_seeds = 0', "num_seeds must be at least 1"),
        ("seed = 1", "names no environment"),
        ("seed = ", "cannot be read as TOML"),
        ("hparams = 3", "hparams is a section"),
    ],
)
def test_bad_input_is_one_sentence_that_names_it(write, text, said):
    with pytest.raises(UsageError) as caught:
        config.load(write(text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "loggers"),
    [("csv", ("csv",)), ('["csv", "wandb"]', ("csv", "wandb")), ("[]", ())],
)
def test_loggers_are_a_list_or_one_word(write, flag, loggers):
    loaded = config.load(write(GOOD), {"logging.to": flag})
    assert loaded.logging.to == loggers
    assert config.load(write(loaded.toml())) == loaded


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.toml does not exist"):
        config.load(tmp_path / "nowhere.toml")


def test_names_are_checked_before_jax_is_imported(write):
    code = (
        "import sys; from rljax.cli import main\n"
        f"code = main(['train', {str(write('env = 1'))!r}, '--env', 'CartPol-v1'])\n"
        "assert code == 2 and 'jax' not in sys.modules and 'gymnax' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1 and "did you mean 'CartPole-v1'" in done.stderr


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64", 64),
        ("1e-3", 1e-3),
        ("true", True),
        ("[8, 8]", [8, 8]),
        ("CartPole-v1", "CartPole-v1"),
    ],
)
def test_a_flag_is_read_as_toml_would_be(text, value):
    assert config_values.parse(text) == value


def test_the_environment_gets_its_parameters_from_the_file_and_from_flags(write):
    text = GOOD + "[environment]\nmax_steps_in_episode = 100\n"
    assert config.load(write(text)).env().params.max_steps_in_episode == 100
    loaded = config.load(write(text), {"environment.max_steps_in_episode": "50"})
    assert loaded.env().params.max_steps_in_episode == 50
    again = config.load(write(loaded.toml()))
    assert again == loaded and again.environment == {"max_steps_in_episode": 50}


def test_a_parameter_that_the_environment_does_not_have_is_refused(write):
    loaded = config.load(write(GOOD), {"environment.max_step_in_episode": "50"})
    with pytest.raises(UsageError, match="no parameter.*did you mean 'max_steps_in_episode'"):
        loaded.agent()
