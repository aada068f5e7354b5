#!/usr/bin/env bash
# Train on all hosts of a Cloud TPU slice. Run this on your own machine, inside tmux or screen: the
# training ends with the connection. Run it again after a preemption, and it goes on.
# Change: the names below, and the config.
#
# A slice, cheaper if it may be taken away (a queued resource waits until there is one; a slice that
# was taken away has to be deleted and asked for again):
#
#   gcloud compute tpus queued-resources create rljax --node-id=rljax --zone=us-central1-a \
#       --accelerator-type=v5litepod-16 --runtime-version=v2-alpha-tpuv5-lite --spot
#
# Once, on every host (with --worker=all as below): mount the file system that --run-dir is on (all
# hosts share it: Filestore, say), clone this repository, and in it
#
#   python3 -m venv .venv && .venv/bin/pip install '.[tpu]'     # Python 3.11 or 3.12
#
# To stop: gcloud compute tpus tpu-vm ssh rljax --zone=us-central1-a --worker=0 \
#       --command="pkill -TERM -f '[r]ljax train'"
# One host is enough: it tells the others, and all of them save and exit with 143.
set -euo pipefail

name=rljax
zone=us-central1-a
run=/mnt/shared/runs/breakout

# JAX finds the hosts of the slice by itself.
gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="
    cd rljax && source .venv/bin/activate &&
    rljax train configs/ppo/breakout.toml --distributed --run-dir $run --resume auto"
