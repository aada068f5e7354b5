"""Elo ratings: how strong players of a game are, from how their games with each other ended."""

import numpy as np

SCALE = 400 / np.log(10)  # rating points for which the odds of a win grow by a factor of e


def elo(points: np.ndarray) -> np.ndarray:
    """The most likely ratings of P players, float [P], whose mean is 0.

    A player who is 400 points above another one is expected to take 10 of 11 points. One drawn game
    is added for each pair that has played, so who has won all games has a rating, too.

    Args:
        points: [P, P], what each row took from each column: 1 for a win and 0.5 for a draw.

    Raises ValueError for points that are not a square of numbers from 0 up.

    Source: Elo 1978, "The Rating of Chessplayers"; the likelihood is that of Bradley and Terry
    1952, https://doi.org/10.2307/2334029.
    """
    from scipy.optimize import minimize
    from scipy.special import expit, log_expit

    points = np.asarray(points, float)
    if points.ndim != 2 or points.shape[0] != points.shape[1] or not np.all(points >= 0):
        raise ValueError(f"points must be a square of numbers from 0 up, not {points}")
    points = points * (1 - np.eye(len(points)))
    taken = points + 0.5 * (points + points.T > 0)

    def loss(strengths: np.ndarray) -> tuple[float, np.ndarray]:
        apart = strengths[:, None] - strengths
        slope = taken * expit(-apart)
        # A little weight on small ratings: those of groups that never met have no other anchor.
        value = -np.sum(taken * log_expit(apart)) + 1e-6 * np.sum(strengths**2)
        return value, slope.sum(0) - slope.sum(1) + 2e-6 * strengths

    found = minimize(loss, np.zeros(len(points)), jac=True, method="L-BFGS-B", tol=1e-10).x
    return SCALE * (found - found.mean())
