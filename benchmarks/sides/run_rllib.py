"""RLlib's PPO in one process, and its IMPALA with actors of Ray."""

import logging
import time
import warnings

import side

warnings.simplefilter("ignore")

import ray  # noqa: E402
from ray.rllib.algorithms.impala import IMPALAConfig  # noqa: E402
from ray.rllib.algorithms.ppo import PPOConfig  # noqa: E402

COUNT = "num_env_steps_sampled_lifetime"


def settings(work, batch: int):
    """The algorithm's own settings; the value loss of PPO is clipped in another way, not here."""
    structure, numbers = work["structure"], work["hparams"]
    lr = numbers["lr"]
    both = {
        "train_batch_size_per_learner": batch,
        "lr": [[0, lr], [work["total_env_steps"], 0.0]] if structure["anneal_lr"] else lr,
        "gamma": numbers["gamma"],
        "vf_loss_coeff": numbers["value_coef"],
        "entropy_coeff": numbers["entropy_coef"],
        "grad_clip": numbers["max_grad_norm"],
        "grad_clip_by": "global_norm",
    }
    if work["agent"] == "impala":
        clips = {"rho": numbers["rho_clip"], "pg_rho": numbers["rho_clip"]}
        return IMPALAConfig().training(
            vtrace_clip_rho_threshold=clips["rho"],
            vtrace_clip_pg_rho_threshold=clips["pg_rho"],
            **both,
        )
    return PPOConfig().training(
        minibatch_size=batch // structure["num_minibatches"],
        num_epochs=structure["num_epochs"],
        lambda_=numbers["gae_lambda"],
        clip_param=numbers["clip_eps"],
        vf_clip_param=float("inf"),
        use_kl_loss=False,
        **both,
    )


def main() -> None:
    """Train as the work says."""
    work = side.work()
    structure, runners = work["structure"], work.get("actors", 0)
    batch = structure["num_envs"] * structure["rollout_length"]
    cpus = {"num_cpus": max(2, runners + 1)} if runners else {}
    ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False, **cpus)
    algorithm = (
        settings(work, batch)
        .environment(work["env"].removeprefix("gymnasium/"))
        .env_runners(
            num_env_runners=runners,
            num_envs_per_env_runner=structure["num_envs"] // max(1, runners),
            rollout_fragment_length=structure["rollout_length"],
        )
        .learners(num_learners=0)
        .rl_module(
            model_config={
                "fcnet_hiddens": structure["hidden"],
                "fcnet_activation": structure["activation"],
                "vf_share_layers": False,
            }
        )
        .debugging(seed=work["seed"], log_level="ERROR")
        .build_algo()
    )
    first = algorithm.train()["env_runners"]  # What is made on first use is not timed.
    taken = 0
    returns = float("nan")
    began = time.perf_counter()
    while taken < work["total_env_steps"] - batch:
        sampled = algorithm.train().get("env_runners", {})
        taken = sampled.get(COUNT, taken + first[COUNT]) - first[COUNT]
        returns = sampled.get("episode_return_mean", returns)
    seconds = time.perf_counter() - began
    algorithm.stop()
    side.answer(taken, [seconds], returns, None, ["ray", "torch", "gymnasium"])


main()
