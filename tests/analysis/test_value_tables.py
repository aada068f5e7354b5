"""Pictures of tables say what the tables do: where to go, what it is worth, where that ends."""

import gymnax
import jax
import numpy as np
import pytest

import rljax
from rljax.analysis import plots, tables
from rljax.envs import GRID_WORLDS
from rljax.envs.grid_world import GridWorld
from rljax.errors import UsageError
from rljax.experiments import config, experiment
from rljax.ops import value_iteration

UP, RIGHT, DOWN, LEFT = range(4)
SMALL = GridWorld("""
    S . #
    C . G
""")


def prefer(env, *actions, default=(UP, RIGHT, DOWN, LEFT)):
    """A table in which `actions` are the best in the first cells, one or a tuple of them each."""
    table = np.zeros((env.observation_space.n, 4))
    for cell, best in enumerate([*actions, *[default] * (len(table) - len(actions))]):
        table[cell, best] = 1.0
    return table


@pytest.mark.parametrize(
    "action, arrow",
    [
        (UP, (0, 0.3, 0, -0.6)),
        (RIGHT, (-0.3, 0, 0.6, 0)),
        (DOWN, (0, -0.3, 0, 0.6)),
        (LEFT, (0.3, 0, -0.6, 0)),
    ],
)
def test_an_arrow_goes_through_the_middle_of_its_cell_to_where_its_action_leads(action, arrow):
    drawn = tables.arrows(prefer(SMALL, UP, action, UP, UP, UP, UP), tables.map_of(SMALL))
    assert drawn.shape == (3, 4)  # two floors and a start; not the wall, the cliff and the goal
    assert drawn[1] == pytest.approx(np.add((1, 0, 0, 0), arrow))


def test_tied_actions_have_short_arrows_away_from_the_middle():
    drawn = tables.arrows(prefer(SMALL, (RIGHT, DOWN), UP), tables.map_of(SMALL))
    assert drawn[:2] == pytest.approx(np.array([(0.1, 0, 0.3, 0), (0, 0.1, 0, 0.3)]))
    assert len(drawn) == 2 + 1 + 4


@pytest.mark.parametrize("name", [*GRID_WORLDS, "FrozenLake-misc"])
def test_arrows_agree_with_where_actions_arrive(name):
    map_ = tables.map_of(rljax.make(name))
    place = np.stack(np.divmod(np.arange(map_.cells.size), map_.cells.shape[1]), axis=-1)
    moved = place[map_.reached] - place[:, None]
    stayed = (moved == 0).all(axis=-1)
    assert ((moved == map_.moves).all(axis=-1) | stayed)[map_.inhabited].all()
    assert (~stayed)[map_.inhabited].any(axis=0).all()


def test_the_map_of_the_frozen_lake_is_that_of_gymnax():
    map_ = tables.map_of(rljax.make("FrozenLake-misc"))
    env, params = gymnax.make("FrozenLake-misc", is_slippery=False)
    assert (np.array(list("s~HG"))[np.asarray(env.desc)] == map_.cells).all()
    _, state = env.reset_env(jax.random.key(0), params)
    for cell, action in np.argwhere(map_.inhabited[:, None] & np.ones(4, bool)):
        at = state.replace(position=cell)
        _, after, *_ = env.step_env(jax.random.key(0), at, action, params)
        assert after.position == map_.reached[cell, action]


def test_a_greedy_path_ends_at_the_goal():
    walk = prefer(SMALL, RIGHT, DOWN, UP, UP, RIGHT)
    assert tables.greedy_path(walk, tables.map_of(SMALL), 0) == [0, 1, 4, 5]


@pytest.mark.parametrize(
    ("actions", "path"),
    [
        ((DOWN,), [0, 3]),  # a cliff, from which the episode would go on
        ((UP,), [0, 0]),  # the edge of the map
        ((RIGHT, RIGHT), [0, 1, 1]),  # a wall
        ((RIGHT, LEFT), [0, 1, 0]),  # a circle
        (((RIGHT, DOWN), (DOWN, LEFT), UP, UP, RIGHT), [0, 1, 4, 5]),  # the first of ties
    ],
)
def test_a_greedy_path_ends_where_it_would_not_go_on(actions, path):
    assert tables.greedy_path(prefer(SMALL, *actions), tables.map_of(SMALL), 0) == path


def test_the_greedy_path_is_the_shortest_on_a_solved_map():
    env = rljax.make("GridWorld10x10", slip=0.0)
    model = env.transition_model()
    q = np.asarray(value_iteration(model.probability, model.reward, 0.99))
    path = tables.greedy_path(q, tables.map_of(env), int(env.starts[0]))
    assert (len(path) - 1, env.cells.flat[path[-1]]) == (11, "G")


def test_the_scale_is_that_of_all_values_and_of_nothing_else():
    env = rljax.make("CliffWalking")
    map_ = tables.map_of(env)
    low = np.where(map_.inhabited[:, None], -np.arange(48.0)[:, None] - np.arange(4), -1e6)
    figure = tables.draw_tables([("low", low, map_), ("high", low + 50, map_)])
    panels, bar = figure.axes[:2], figure.axes[2]
    assert bar.get_ylabel() == "value of the best action"
    assert [axes.get_title() for axes in panels] == ["low", "high"]
    for axes, best in zip(panels, (low.max(axis=1), low.max(axis=1) + 50), strict=True):
        (image,) = axes.images
        assert image.get_clim() == (-36, 50)
        shown = image.get_array()
        assert (shown.mask.ravel() == ~map_.inhabited).all()
        assert (shown.compressed() == best[map_.inhabited]).all()


def test_cells_are_named_in_the_legend_if_they_are_on_the_map():
    figure = tables.draw_tables([("small", prefer(SMALL), tables.map_of(SMALL))])
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["greedy path", "goal", "cliff", "wall"]
    marks = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert marks["goal"] == [[2, 1]] and marks["cliff"] == [[0, 1]] and marks["hole"] == []
    assert marks["wall"] == [[2, 0]]


@pytest.mark.parametrize("text", ["S G", "S" + 40 * "." + "G", "S\n.\n.\n.\n.\n.\n.\n.\n.\nG"])
def test_maps_of_any_shape_are_drawn_without_a_warning(text, tmp_path, recwarn):
    env = GridWorld(text)
    table = np.zeros((env.observation_space.n, 4), np.float32)
    plots.save(tables.draw_tables([("new", table, tables.map_of(env))]), tmp_path / "new.png")
    assert (tmp_path / "new.png").stat().st_size > 0
    assert not recwarn.list


def test_tables_that_cannot_be_drawn_are_refused():
    with pytest.raises(UsageError, match="there is no table"):
        tables.draw_tables([])
    with pytest.raises(UsageError, match=r"it: a table \[6, 3\] does not fit a map of .* \[6, 4\]"):
        tables.draw_tables([("it", np.zeros((6, 3)), tables.map_of(SMALL))])
    with pytest.raises(UsageError, match="CartPole-v1 has no map"):
        tables.map_of(rljax.make("CartPole-v1"))


@pytest.mark.long
def test_the_table_of_a_run_is_the_mean_of_its_tables_for_the_seed_asked(tmp_path):
    given = {
        "env": "FrozenLake4x4",
        "agent": "double_q_learning",
        "seed": 7,
        "num_seeds": 2,
        "total_env_steps": 3200,
        "evaluation.episodes": 1,
    }
    experiment.start(config.resolve(given, {}), tmp_path / "run")
    _, state = rljax.load(tmp_path / "run")
    for member in range(2):
        title, table, map_ = tables.read(tmp_path / "run", member)
        name = f"double_q_learning on FrozenLake4x4, seed {7 + member}"
        assert title == f"{name}\n3,200 environment steps"
        np.testing.assert_array_equal(table, np.mean(state.learner.params[member], axis=0))
        assert map_.cells[0, 0] == "s"
    with pytest.raises(UsageError, match="0 to 1"):
        tables.read(tmp_path / "run", 2)


@pytest.mark.parametrize("agent", ["sarsa", "dyna_q"])
def test_a_table_by_itself_is_read_as_it_is(tmp_path, agent):
    given = {
        "env": "FrozenLake-misc",
        "agent": agent,
        "structure.initial_value": 1.0,
        "total_env_steps": 16,
        "evaluation.episodes": 1,
    }
    experiment.start(config.resolve(given, {}), tmp_path / "run")
    title, table, map_ = tables.read(tmp_path / "run")
    assert title == f"{agent} on FrozenLake-misc\n16 environment steps"
    assert table.shape == (16, 4) and table[5] == pytest.approx(np.ones(4))
    assert map_.moves.tolist() == [[0, -1], [1, 0], [0, 1], [-1, 0]]
