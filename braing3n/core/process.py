"""What a process settles before it imports anything else: where libraries come from, how threads wait."""

import os
import sys


def use_safe_path() -> None:
    """Take the working folder off the import path, here and in every process started from here.

    `python -m` puts it first, so that a `pandas.py` beside the scans would run. The folder of this package
    stays reachable, last, for a checkout that is not installed. Only modules that Python itself has loaded
    already are imported here.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    if sys.flags.safe_path:
        return
    package_root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    working = {"", ".", os.getcwd()}
    sys.path[:] = [path for path in sys.path if path not in working]
    if package_root not in sys.path:
        sys.path.append(package_root)


def let_threads_yield() -> None:
    """Let OpenMP's threads sleep while they wait for one another, here and in the processes started here.

    By default they spin for milliseconds, and beside other busy processes each wait then lasts until the
    scheduler takes the spinning thread off its core (`bench/shared_machine.py`). Libraries read this once,
    when they are loaded, so the package calls it before all else. What a user set stays.
    """
    if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}:
        # About 500 us for libgomp: most waits in a training step are shorter, a time slice is longer.
        os.environ |= {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "0"}


def stop_jobs_on_sigterm() -> None:
    """Let a SIGTERM to Snakemake end it as Ctrl-C does: running jobs are asked to save and end, too.

    By itself Snakemake would start no further job and wait, for hours, for those that run. Called when a
    workflow starts, after Snakemake has set its own handler. A scheduler's jobs are cancelled as by Ctrl-C.
    """
    import contextlib
    import signal
    import threading

    def stop(number, frame):
        import psutil

        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)
