import io

import numpy as np
import pytest
from rich.console import Console

import rljax
from rljax.experiments.terminal import Display, braille


def row(steps, speed, **more):
    return {"env_steps": steps, "charts/SPS": speed, "charts/episodes": [1.0, 2.0], **more}


@pytest.fixture(scope="module")
def agent(cartpole):
    return rljax.ppo(cartpole, num_envs=4, rollout_length=8, hidden=(8,), total_env_steps=6400)


def shown(agent, terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with Display(agent, console) as display:
        display(None, row(3200, 640.0, **{"charts/episodic_return": [1.0, None]}))
        display(None, row(6400, 640.0, **{"evaluation/return_mean": [3.0, 7.0]}))
    return console.file.getvalue()


def dashboard(agent, width, rows, before=()):
    """The lines of the last picture, without the spaces at their ends."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    display = Display(agent, console, before)
    for one in rows:
        display(None, one)
    console.print(display._picture())
    return [line.replace("\u2800", " ").rstrip() for line in console.file.getvalue().splitlines()]


def test_plain_lines_where_there_is_no_terminal(agent):
    lines = shown(agent, terminal=False).splitlines()
    assert lines == [
        "compiling",
        "3,200/6,400 steps  640 steps/s  return 1 (1 to 1)  10 s left",
        "6,400/6,400 steps  640 steps/s  return 7 (3 to 7)  0 s left",
    ]


def test_a_dashboard_on_a_terminal(agent):
    text = shown(agent, terminal=True)
    assert all(t in text for t in ("6,400 of 6,400", "2 (mean, each)", "5 at 6,400 steps"))


ROWS = [
    row(1600, 640.0, **{"evaluation/return_mean": [5.0, 15.0], "losses/entropy": [0.5, 0.7]}),
    row(
        3200,
        640.0,
        **{"evaluation/return_mean": [25.0, 35.0], "charts/episodic_return": [2.0, None]},
    ),
    row(4800, 800.0, **{"evaluation/return_mean": [20.0, 20.0], "losses/entropy": [0.2, 0.4]}),
]


def test_facts_of_a_population(agent):
    lines = dashboard(agent, 80, ROWS)
    facts = [line.split("  ", 1) for line in lines[7:]]
    assert [(name, fact.strip()) for name, fact in facts] == [
        ("steps", "4,800 of 6,400"),
        ("speed", "800 steps/s"),
        ("left", "0:00:04"),
        ("evaluation", "20 (20, 20)"),
        ("seeds", "2 (mean, each)"),
        ("best", "30 at 3,200 steps"),
        ("entropy", "0.4 (0.2 to 0.4)"),
        ("episodic_return", "2 (2 to 2)"),
    ]


@pytest.mark.parametrize(
    ("returns", "evaluation", "seeds"),
    [
        ([0.0, 500.0, 500.0, 500.0], "375 (0, 500, 500, 500)", "4 (mean, each)"),
        ([0.0, 500.0, 500.0, 500.0, 500.0], "400 (200 to 500)", "5 (mean, 95% interval)"),
        ([0.0] + [500.0] * 7, "500 (375 to 500)", "8 (IQM, 95% interval)"),
    ],
)
def test_few_seeds_are_shown_and_many_have_an_interval(agent, returns, evaluation, seeds):
    lines = dashboard(agent, 80, [row(3200, 640.0, **{"evaluation/return_mean": returns})])
    facts = dict(line.split(maxsplit=1) for line in lines[7:])
    assert (facts["evaluation"], facts["seeds"]) == (evaluation, seeds)


def test_the_curve_spans_the_whole_run_over_its_bar(agent):
    *curve, bar = dashboard(agent, 83, ROWS)[:7]
    assert curve[0].startswith("30 ") and curve[-1].startswith("10 ")
    # From 10 at a quarter of the run to 30 at half of it, then down to 20 at three quarters.
    drawn = [[i for i, c in enumerate(line[3:]) if c != " "] for line in curve]
    assert drawn[-1][0] == 20 and drawn[0][0] > 34 and 40 in drawn[0]
    assert max(map(max, drawn)) == drawn[2][-1] == 59
    assert bar == "   " + "━" * 60


def test_a_run_that_goes_on_knows_what_was(agent):
    lines = dashboard(agent, 80, ROWS[2:], before=ROWS[:2])
    assert lines[:7] == dashboard(agent, 80, ROWS)[:7]
    assert [line.split("  ")[-1] for line in lines if line.startswith("best")] == [
        "30 at 3,200 steps"
    ]


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_nothing_is_wider_than_the_terminal(agent, width):
    lines = dashboard(agent, width, ROWS)
    assert max(map(len, lines)) <= width and len(lines) == 15
    assert lines[7].startswith("steps") and "4,800" in lines[7]


def test_without_an_evaluation_there_is_a_bar_alone(agent):
    lines = dashboard(agent, 40, [row(3200, 640.0)])
    assert [line.split()[0] for line in lines[1:]] == ["steps", "speed", "left"]


def test_braille_draws_a_line_through_its_points():
    assert braille(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 2, 1) == ["⣠⠞"]
    assert braille(np.array([1.0]), np.array([0.0]), 2, 2) == ["⠀⠀", "⠀⢀"]
    steep = braille(np.array([0.0, 0.4, 0.6, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]), 4, 2)
    assert all(line.strip("⠀") for line in steep)
    columns = np.array([[ord(c) - 0x2800 for c in line] for line in steep])
    assert ((columns & 0b01000111).any(0) | (columns & 0b10111000).any(0)).all()  # no gap
