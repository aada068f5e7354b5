"""Pictures of the multi-agent particle environments."""

from typing import Any

import numpy as np

from rljax.analysis.drawings.canvas import (
    BLUE,
    GREEN,
    GREY,
    HEADER,
    HEIGHT,
    PALE,
    VERMILION,
    WIDTH,
    Canvas,
    Drawing,
)
from rljax.envs import PARTICLES


def _particles(env: Any, state: Any, obs: np.ndarray) -> Canvas:
    """Draw agents and landmarks as discs, with a line from each agent to its goal.

    Who has left the picture is drawn at its edge.
    """
    canvas = Canvas((WIDTH / 2, (HEIGHT + HEADER) / 2), 100)
    edge = np.array([WIDTH, HEIGHT - HEADER]) / 2 / canvas.scale
    places, teams = np.clip(state.position, -edge, edge), env.teams
    colours = [GREY] * len(places)
    goals = np.broadcast_to(state.goal, len(env.agents)) if hasattr(state, "goal") else ()
    for agent, goal in enumerate(goals):
        canvas.line([places[agent], places[len(env.agents) + goal]], PALE)
        colours[len(env.agents) + goal] = GREEN
    for team, colour in zip(teams, (VERMILION, BLUE)[-len(teams) :], strict=True):
        for agent in team:
            colours[agent] = colour
    sizes = env.world.sizes
    for entity in np.argsort(-sizes, kind="stable"):  # the largest first, so that none is hidden
        canvas.disc(places[entity], sizes[entity], colours[entity])
    for line, said in enumerate(getattr(state, "message", ())):
        word = chr(ord("A") + int(np.argmax(said))) if said.any() else "nothing"
        canvas.text(16, HEIGHT - 16 - 20 * line, f"{env.agents[line]} says {word}")
    return canvas


DRAWINGS: dict[str, Drawing] = dict.fromkeys(PARTICLES, _particles)
