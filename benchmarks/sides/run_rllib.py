"""RLlib's PPO, in one process."""

import logging
import time
import warnings

import side

warnings.simplefilter("ignore")

import ray  # noqa: E402
from ray.rllib.algorithms.ppo import PPOConfig  # noqa: E402

COUNT = "num_env_steps_sampled_lifetime"


def main() -> None:
    """Train as the work says; its value loss is clipped in another way, and not here."""
    work = side.work()
    structure, numbers = work["structure"], work["hparams"]
    batch = structure["num_envs"] * structure["rollout_length"]
    lr = numbers["lr"]
    ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    algorithm = (
        PPOConfig()
        .environment(work["env"].removeprefix("gymnasium/"))
        .env_runners(
            num_env_runners=0,
            num_envs_per_env_runner=structure["num_envs"],
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
        .training(
            train_batch_size_per_learner=batch,
            minibatch_size=batch // structure["num_minibatches"],
            num_epochs=structure["num_epochs"],
            lr=[[0, lr], [work["total_env_steps"], 0.0]] if structure["anneal_lr"] else lr,
            gamma=numbers["gamma"],
            lambda_=numbers["gae_lambda"],
            clip_param=numbers["clip_eps"],
            vf_clip_param=float("inf"),
            vf_loss_coeff=numbers["value_coef"],
            entropy_coeff=numbers["entropy_coef"],
            grad_clip=numbers["max_grad_norm"],
            grad_clip_by="global_norm",
            use_kl_loss=False,
        )
        .debugging(seed=work["seed"], log_level="ERROR")
        .build_algo()
    )
    first = algorithm.train()["env_runners"]  # What is made on first use is not timed.
    taken, done = 0, batch
    returns = float("nan")
    began = time.perf_counter()
    while done < work["total_env_steps"]:
        sampled = algorithm.train()["env_runners"]
        taken, done = sampled[COUNT] - first[COUNT], done + batch
        returns = sampled.get("episode_return_mean", returns)
    seconds = time.perf_counter() - began
    side.answer(taken, [seconds], returns, None, ["ray", "torch", "gymnasium"])


main()
