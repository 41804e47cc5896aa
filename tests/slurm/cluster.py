"""A real Slurm (munged, slurmctld, slurmd) on this one machine, in one folder, while a test needs it."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
# Debian puts daemons into /usr/sbin, which a normal user's PATH lacks.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
NODE = "braing3n-node"

SLURM_CONF = """\
ClusterName=braing3n
SlurmctldHost={hostname}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
# Containers seldom have the control groups that Slurm likes; nothing here needs them.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
# Finished jobs stay listed, so that a test can ask what ran.
MinJobAge=7200
GresTypes=gpu
NodeName={node} NodeHostname={hostname} NodeAddr=127.0.0.1 Port={node_port} CPUs={n_cpus} \
RealMemory={memory_mb} Gres=gpu:1
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Cluster:
    """A running cluster: its folder, and the environment in which its commands are found."""

    folder: Path
    environment: dict[str, str]

    def ask(self, *command: str) -> str:
        """What a Slurm command prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    def list_jobs(self) -> list[dict[str, str]]:
        """Every job since the start, as the controller's own record: `JobId`, `JobState`, `Comment`, ..."""
        lines = self.ask("scontrol", "--oneliner", "show", "jobs").splitlines()
        pairs = [[word.partition("=") for word in line.split() if "=" in word] for line in lines]
        return [{key: value for key, _, value in words} for words in pairs if words]


def find_missing_programs() -> list[str]:
    """The programs of Slurm and munge that this machine lacks; empty where a cluster can start."""
    return [name for name in PROGRAMS if shutil.which(name, path=SEARCH_PATH) is None]


@contextmanager
def start_cluster(n_cpus: int = 2) -> Iterator[Cluster]:
    """One node on the loopback with free ports; afterwards no process and no file of it is left.

    Args:
        n_cpus: what the node claims; more than the machine has only makes jobs slower.

    Raises:
        RuntimeError: a daemon ended or the node did not become idle; the end of its log is in the message.
    """
    # Not pytest's own folder: the path of a socket may have 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="braing3n-slurm-"))
    daemons: list[subprocess.Popen] = []
    try:
        cluster = _write_configuration(folder, n_cpus)
        for command in _list_daemons(folder):
            daemons.append(_start_daemon(cluster, command))
            # Slurm's daemons give up at once where munge does not answer yet.
            _wait_for((folder / "munge.socket").exists, cluster, daemons)
        _wait_for(lambda: "idle" in cluster.ask("sinfo", "--noheader", "--format=%t"), cluster, daemons)
        yield cluster
    finally:
        _stop(folder, daemons)


def _write_configuration(folder: Path, n_cpus: int) -> Cluster:
    """Configuration, munge's key, and an `srun` that finds the configuration by itself."""
    (folder / "state").mkdir()
    (folder / "tools").mkdir()
    key_path = folder / "munge.key"
    key_path.write_bytes(os.urandom(128))
    key_path.chmod(0o400)
    controller_port, node_port = _find_free_ports(2)
    text = SLURM_CONF.format(
        folder=folder,
        user=getpass.getuser(),
        hostname=socket.gethostname().split(".")[0],
        node=NODE,
        n_cpus=n_cpus,
        memory_mb=_read_memory_mb(),
        controller_port=controller_port,
        node_port=node_port,
    )
    conf_path = folder / "slurm.conf"
    conf_path.write_text(text)
    # The GPU is one in name only, a character device that every machine has: jobs that ask for a GPU are
    # scheduled as on a cluster that has one.
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
    # The executor plugin removes every SLURM_* variable before it calls srun, the path of a configuration
    # outside /etc/slurm among them.
    shim_path = folder / "tools" / "srun"
    real_path = shutil.which("srun", path=SEARCH_PATH)
    shim_path.write_text(f'#!/bin/sh\nSLURM_CONF={conf_path} exec {real_path} "$@"\n')
    shim_path.chmod(0o755)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
    path = os.pathsep.join([str(folder / "tools"), SEARCH_PATH])
    return Cluster(folder, {**inherited, "SLURM_CONF": str(conf_path), "PATH": path})


def _list_daemons(folder: Path) -> list[list[str]]:
    munged = ["munged", "--foreground", "--force", f"--key-file={folder}/munge.key"]
    munged += [f"--socket={folder}/munge.socket", f"--pid-file={folder}/munged.pid"]
    munged += [f"--seed-file={folder}/munged.seed"]
    return [munged, ["slurmctld", "-D"], ["slurmd", "-D", "-N", NODE]]


def _start_daemon(cluster: Cluster, command: list[str]) -> subprocess.Popen:
    program = shutil.which(command[0], path=SEARCH_PATH)
    with (cluster.folder / f"{command[0]}.out").open("wb") as output:
        # A session of its own, so that a Ctrl-C reaches the test first and the daemons in their order.
        return subprocess.Popen(
            [program, *command[1:]],
            env=cluster.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=cluster.folder,
        )


def _wait_for(is_ready, cluster: Cluster, daemons: list[subprocess.Popen], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while True:
        ended = [daemon.args[0] for daemon in daemons if daemon.poll() is not None]
        try:
            if not ended and is_ready():
                return
        except subprocess.SubprocessError:
            pass  # the controller does not answer yet
        if ended or time.monotonic() > deadline:
            raise RuntimeError(
                f"Slurm did not start (ended: {ended or 'none'}).\n{_read_logs(cluster.folder)}"
            )
        time.sleep(0.2)


def _read_logs(folder: Path, n_lines: int = 15) -> str:
    paths = sorted(folder.glob("*.out"))
    return "\n".join(
        f"== {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-n_lines:])
        for path in paths
    )


def _stop(folder: Path, daemons: list[subprocess.Popen]) -> None:
    """Stop the daemons last first, then whatever a job left, then remove the folder."""
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(timeout=20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    # Job steps detach from slurmd, so they are found by what they hold, never by a name.
    deadline = time.monotonic() + 10
    while (leftovers := find_processes(folder)) and time.monotonic() < deadline:
        for pid in leftovers:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.1)
    shutil.rmtree(folder)


def find_processes(folder: Path) -> list[int]:
    """Processes that belong to the cluster: `folder` is in their command, environment or open files."""
    needle = os.fsencode(folder)
    found = []
    for process_dir in Path("/proc").glob("[0-9]*"):
        pid = int(process_dir.name)
        try:
            texts = [(process_dir / "cmdline").read_bytes(), (process_dir / "environ").read_bytes()]
            texts += [os.fsencode(os.readlink(link)) for link in (process_dir / "fd").iterdir()]
        except OSError:
            continue  # it ended meanwhile, or is another user's
        if pid != os.getpid() and any(needle in text for text in texts):
            found.append(pid)
    return found


def _find_free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def _read_memory_mb() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    raise RuntimeError("/proc/meminfo has no MemTotal: cannot tell the node's memory.")
