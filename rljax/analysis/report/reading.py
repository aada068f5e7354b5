"""What the numbers of a report mean."""

from rljax import statistics
from rljax.analysis.comparison import Comparison
from rljax.analysis.report.markup import Section, text
from rljax.statistics import FEWEST_FOR_INTERVAL


def reading(compared: Comparison) -> Section:
    """What the numbers mean."""
    terms = {
        "Seed": "One training from its own random numbers. All statistics are over seeds, never "
        "over episodes or over rows of one training.",
        "Evaluation": "A fixed number of full episodes under the policy as it was, each in an "
        "environment of its own. Returns of episodes that happened to end while training lean "
        "towards short ones, and are not used.",
        "Interquartile mean (IQM)": "The mean of the middle half of the seeds, those of all "
        "environments together. A single lucky or failed seed moves it less than the mean, and it "
        "wastes less than the median. It does not know the worst seeds, one of four and two of "
        f"eight, so with fewer than {statistics.FEWEST_FOR_IQM} seeds the mean stands for them.",
        "95% interval": "A percentile bootstrap, stratified: seeds are drawn with replacement "
        f"within each environment, {statistics.RESAMPLES:,} times. Of fewer than about ten seeds "
        f"such intervals are too narrow, and of fewer than {FEWEST_FOR_INTERVAL} there is none.",
        "Performance profile": "For every return, the fraction of seeds that got above it. A "
        "method whose profile is nowhere below another's is at least as good at every level.",
        "Probability of improvement": "How likely a seed of the one method has a higher return "
        "than a seed of the other; ties count half. 0.5 is no difference, and an interval that "
        "contains 0.5 shows none.",
    }
    if any(group.success is not None for group in compared.groups):
        terms["Success"] = (
            "The fraction of episodes that ended at the environment's goal: the flag of a mountain "
            "car, the height of the acrobot, the goal cell of a grid."
        )
    items = "".join(f"<dt>{text(term)}</dt><dd>{text(said)}</dd>" for term, said in terms.items())
    source = (
        '<p class="about">Statistics as in Agarwal et al. 2021, <cite>Deep Reinforcement Learning '
        "at the Edge of the Statistical Precipice</cite>, "
        '<a href="https://arxiv.org/abs/2108.13264">arXiv:2108.13264</a>.</p>'
    )
    return Section("reading", "How to read this", "", f"<dl>{items}</dl>{source}")
