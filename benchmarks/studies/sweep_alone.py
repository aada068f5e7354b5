"""Train PPO with one learning rate after another, with one compiled program; used by `sweep.py`.

    python benchmarks/studies/sweep_alone.py configs/ppo/cartpole.toml 1e-3 1e-2

Prints one line of JSON: seconds and mean return of each training. Compiling is not in the seconds.
"""

import json
import sys
import time
from collections import deque

import jax

from rljax.experiments import config
from rljax.experiments.hooks import evaluation_key
from rljax.training.compilation import compile_chunk
from rljax.training.evaluation import episodes
from rljax.training.loop import advance
from rljax.types import State

CHUNKS = 50  # As many as a run of `rljax train` has.


def main(path: str, rates: list[float]) -> None:
    """Train once to compile, then once for each learning rate."""
    agent = config.load(path).agent()
    init, play = jax.jit(agent.init), episodes(agent, 64)

    def begin(seed: int, lr: float) -> State:
        return init(jax.random.key(seed), agent.hparams.__class__(lr=lr))

    chunk = compile_chunk(agent, begin(0, rates[0]), max(1, agent.num_iterations // CHUNKS))

    def train(seed: int, lr: float) -> float:
        chunks = advance(agent, chunk, begin(seed, lr), lambda faults: None)
        [(state, _)] = deque(chunks, maxlen=1)
        return float(play(state, evaluation_key(seed)).returns.mean())

    train(0, rates[0])
    seconds, returns = [], []
    for number, lr in enumerate(rates):
        began = time.perf_counter()
        returns.append(train(number % 4, lr))
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds, "returns": returns}))


if __name__ == "__main__":
    main(sys.argv[1], [float(rate) for rate in sys.argv[2:]])
