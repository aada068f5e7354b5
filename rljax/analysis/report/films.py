"""An episode of the best method on each environment."""

import base64
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rljax.analysis.comparison import Comparison, Group
from rljax.analysis.report.markup import Section, number, text
from rljax.errors import RunError
from rljax.statistics import central

MOST_FILMS, MOST_FRAMES, MOST_FILM_BYTES = 4, 300, 2_500_000


def films(compared: Comparison) -> Section | None:
    """An episode on each environment, of the best method there and its middle seed."""
    from rljax.analysis import render

    pictures: list[str] = []
    left_out: list[str] = []
    size = 0
    for name, groups in compared.environments.items():
        playable = [g for g in groups if any(r.directory.checkpoints.is_dir() for r in g.runs)]
        if name not in render.drawable() or not playable:
            continue
        best = max(playable, key=lambda g: float(central(g.returns[-1][:, None])))
        try:
            film = _film(best) if len(pictures) < MOST_FILMS else None
        except RunError as error:
            left_out.append(f"{name} cannot be shown: {error}.")
            continue
        if film is None or size + len(film.gif) > MOST_FILM_BYTES:
            left_out.append(f"{name} is left out to keep this file small.")
            continue
        size += len(film.gif)
        pictures.append(_picture(name, best, film))
    if not pictures and not left_out:
        return None
    about = (
        "On each environment the method with the highest score, and of its seeds the one in the "
        f"middle; greedy actions, and at most {MOST_FRAMES} steps. " + " ".join(left_out)
    )
    body = f'<div class="films">{"".join(pictures)}</div>'
    return Section("films", "The agent at play", about.strip(), body)


class _Film(NamedTuple):
    """An episode in files, and what is in it."""

    gif: bytes
    still: bytes  # PNG of its last frame
    seed: int
    steps: int
    total: float  # its return


def _film(group: Group) -> _Film:
    from PIL import Image

    from rljax.analysis import episode, render

    ranked = [group.seeds[k] for k in np.argsort(group.returns[-1], kind="stable")]
    ranked = [seed for seed in ranked if seed.run.directory.checkpoints.is_dir()]
    chosen = ranked[len(ranked) // 2]
    film = episode.film(chosen.run.directory, chosen.column, 0, MOST_FRAMES)
    with tempfile.TemporaryDirectory() as place:
        gif, still = Path(place, "play.gif"), Path(place, "still.png")
        render.save_gif(film.frames, gif, film.pace)
        Image.fromarray(film.frames[-1]).quantize().save(still, optimize=True)
        files = gif.read_bytes(), still.read_bytes()
    return _Film(*files, chosen.seed, len(film.frames), film.total)


def _picture(name: str, group: Group, film: _Film) -> str:
    told = f"{group.label}, seed {film.seed}: {film.steps} steps, return {number(film.total)}"
    moving, still = (
        f"data:image/{kind};base64,{base64.b64encode(file).decode()}"
        for kind, file in (("gif", film.gif), ("png", film.still))
    )
    return (
        f"<figure><figcaption>{text(name)} <span>{text(told)}</span></figcaption><picture>"
        f'<source media="(prefers-reduced-motion: reduce), print" srcset="{still}">'
        f'<img src="{moving}" width="480" height="320" alt="{text(name)}, played by {text(told)}">'
        f"</picture></figure>"
    )
