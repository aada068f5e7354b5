"""Run `rljax train` as several processes of this machine, the way a job runs them on many hosts.

    python scripts/launch_local.py --num-processes 2 -- configs/ppo/cartpole.toml --run-dir runs/two

What stands behind `--` is what `rljax train` gets. Devices are CPU devices. Each line of output has
the number of its process in front; SIGTERM and Ctrl-C go to all processes. Exits with the code of
the first process that failed, 0 if none did.
"""

import argparse
import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

GRACE_S = 90.0  # Processes that lost a peer end by themselves within a minute.


def main() -> int:
    """Parse the command line and launch."""
    parser = argparse.ArgumentParser(usage="%(prog)s [--num-processes N] -- CONFIG [FLAG]...")
    parser.add_argument("--num-processes", type=int, default=2)
    parser.add_argument("--devices-per-process", type=int, default=1)
    parser.add_argument("words", nargs="+", metavar="CONFIG [FLAG]...")
    options = parser.parse_args()
    if min(options.num_processes, options.devices_per_process) < 1:
        parser.error("there must be at least 1 process, and 1 device in each")
    # Without a platform, every process would take all GPUs of the machine.
    os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(options.devices_per_process)}
    train = [sys.executable, "-m", "rljax", "train", *options.words]
    train += [f"--coordinator=127.0.0.1:{_free_port()}", f"--num-processes={options.num_processes}"]
    return launch([[*train, f"--process-id={i}"] for i in range(options.num_processes)])


def launch(commands: Sequence[Sequence[str]], grace_s: float = GRACE_S) -> int:
    """Run commands side by side until all have ended; the exit code of the first to fail, or 0.

    Once one has failed, the others have `grace_s` seconds to end before they are killed.
    """
    processes: list[subprocess.Popen] = []

    def forward(number: int, frame: object) -> None:
        for process in processes:
            process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)
    for command in commands:
        processes.append(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # A terminal's Ctrl-C would reach them twice.
            )
        )
    ended: queue.Queue[int] = queue.Queue()  # exit codes, in the order in which processes end
    for index, process in enumerate(processes):
        threading.Thread(target=_copy, args=(index, process, ended), daemon=True).start()

    failed = 0
    for _ in processes:
        code = _next(ended)
        if code and not failed:
            failed = code
            killer = threading.Timer(grace_s, _kill, [processes])
            killer.daemon = True
            killer.start()
    return failed


def _next(ended: queue.Queue[int]) -> int:
    # A signal that arrives just before a wait without limit is handled only after it.
    while True:
        with contextlib.suppress(queue.Empty):
            return ended.get(timeout=0.5)


def _kill(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        process.kill()


def _copy(index: int, process: subprocess.Popen, ended: queue.Queue) -> None:
    assert process.stdout is not None
    # Where nobody reads what is printed, the process finds its own output closed, and ends.
    with contextlib.suppress(BrokenPipeError), process.stdout as lines:
        for line in lines:
            print(f"[{index}] {line.rstrip()}\n", end="", flush=True)
    code = process.wait()
    ended.put(code if code >= 0 else 128 - code)  # A shell's number for an end by a signal.


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
