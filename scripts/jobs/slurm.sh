#!/usr/bin/env bash
# Train on several nodes: sbatch scripts/jobs/slurm.sh, in the clone of this repository.
# Change: nodes, GPUs, CPUs and time; how Python is found; the last argument lines of `srun`.

#SBATCH --job-name=rljax
#SBATCH --nodes=2
# One task per GPU. Not --gpus-per-task: JAX gives task i of a node GPU i of those that it sees.
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
# Every task gets SIGTERM two minutes before the time is up, to end its chunk and save. (With B:
# this script would get it, and they would not.)
#SBATCH --signal=TERM@120
# After the loss of a node, or a preemption, the job goes back into the queue.
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log

source .venv/bin/activate || exit 2

# --run-dir has to be on a file system that all nodes share. The same line starts and resumes.
# Whatever the cluster's default, a task that has ended must not end others that still save: hence
# --kill-on-bad-exit=0. And srun does not take the number of CPUs from sbatch by itself.
srun --kill-on-bad-exit=0 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
    rljax train configs/ppo/breakout.toml --distributed \
    --run-dir runs/breakout --resume auto
code=$? # the highest of all tasks

requeue() {
    echo "exit code $code: back into the queue"
    scontrol requeue "$SLURM_JOB_ID"
}

case $code in
    0 | 2 | 3) ;;   # Done; a mistake in the command line, or a NaN, that would only come again.
    143) requeue ;; # SIGTERM, the state was saved. (scancel ends this script as well.)
    *)              # Something was lost: a process, a GPU, a peer. Not without end.
        if ((${SLURM_RESTART_COUNT:-0} < 20)); then requeue; fi
        ;;
esac
exit "$code"
