import io

from rich.console import Console

import rljax
from rljax.runs.terminal import Display


def row(steps, speed, **more):
    return {"env_steps": steps, "charts/SPS": speed, "charts/episodes": [1.0, 2.0], **more}


def shown(cartpole, terminal):
    agent = rljax.ppo(cartpole, num_envs=4, rollout_length=8, hidden=(8,), total_env_steps=6400)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with Display(agent, console) as display:
        display(None, row(3200, 640.0, **{"charts/episodic_return": [1.0, None]}))
        display(None, row(6400, 640.0, **{"evaluation/return_mean": [3.0, 7.0]}))
    return console.file.getvalue()


def test_plain_lines_where_there_is_no_terminal(cartpole):
    lines = shown(cartpole, terminal=False).splitlines()
    assert lines == [
        "compiling",
        "3,200/6,400 steps  640 steps/s  return 1 (1 to 1)  10 s left",
        "6,400/6,400 steps  640 steps/s  return 7 (3 to 7)  0 s left",
    ]


def test_a_bar_and_a_table_on_a_terminal(cartpole):
    text = shown(cartpole, terminal=True)
    assert all(t in text for t in ("6,400/6,400 steps", "evaluation/return_mean", "7 (3 to 7)"))
