"""Handing groups of jobs to a Ray cluster, from the process that plans them."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import socket
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from harness import HarnessError, UnavailableError
from harness.jobs.spec import JobSpec, SessionSpec
from harness.store import failures
from harness.store.failures import Failure
from harness.store.store import Store
from harness.system import messages
from harness.system.threads import cpu_count
from harness.types.executors import Event, ExecutorOptions, Problem
from harness_ray import node
from harness_ray.node import Done, Task

log = logging.getLogger("harness.ray")

TRIES = 3
"""Times that a group of jobs may lose the process or the node that computes it."""
AHEAD = 2
"""Groups handed to Ray for each core: so many that no core waits for the driver, and so few that
what comes first for the user stays first."""
CONNECT = 10.0
"""Seconds that a cluster may take to take a connection."""
ANSWER = 60.0
"""Seconds that a node may take to say what it sees."""


def start(session: SessionSpec, options: ExecutorOptions) -> Cluster:
    """The nodes of a run: the executor ``ray``. Nothing happens before it is entered."""
    return Cluster(session, options)


class Cluster:
    """Computes groups of jobs on the nodes of a Ray cluster.

    Of ``options.address``, else of ``$RAY_ADDRESS``, else one that is started on this machine and
    ends with the run. Ray places groups by the cores and GPUs that they ask for, and computes those
    of a lost node elsewhere. Raises UnavailableError when Ray is not installed, and HarnessError
    when there is no such cluster or a node does not see the store or has other versions.
    """

    def __init__(self, session: SessionSpec, options: ExecutorOptions) -> None:
        self.session = session
        self.options = options
        self.store = Store(Path(session.store))
        self.running: dict[Any, Sequence[JobSpec]] = {}
        """Groups that Ray has, by the reference of what they return."""
        self.events: deque[Event] = deque()
        self.computed: Counter[str] = Counter()
        """Groups that each node has computed."""
        self.ray: Any = None
        self.files: dict[str, bytes] = {}

    def __enter__(self) -> Cluster:
        self.ray = _ray()
        address = self.options.address or os.environ.get("RAY_ADDRESS")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if address:
                _check_listens(address)
                self.ray.init(address=address, **quiet)
            else:
                self.ray.init(
                    address="local", num_cpus=cpu_count(), include_dashboard=False, **quiet
                )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise HarnessError(
                f"executor ray: no cluster at {address or 'this machine'} "
                f"({str(error).splitlines()[0] if str(error) else type(error).__name__}); check "
                "--address, $RAY_ADDRESS and `ray status`, or leave out --executor ray"
            ) from error
        _quiet()
        try:
            self._check_resources()
            if address:  # else all nodes are this machine
                self._check_nodes()
            self.files = {path: Path(path).read_bytes() for path in self.session.plugins}
        except BaseException:
            self.ray.shutdown()
            raise
        if len(self._nodes()) > 1:
            # Perturbed patches are kept for processes that share a disk and its memory.
            self.session = replace(self.session, cache_bytes=0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        for reference in self.running:
            with contextlib.suppress(Exception):
                self.ray.cancel(reference, force=True)
        self.ray.shutdown()
        if self.computed:
            told = ", ".join(f"{name} {n:,}" for name, n in sorted(self.computed.items()))
            log.debug(f"groups of jobs by node: {told}")

    def _nodes(self) -> list[dict[str, Any]]:
        return [found for found in self.ray.nodes() if found["Alive"]]

    def _check_resources(self) -> None:
        """Raise HarnessError unless a node can compute a group; Ray would wait for one."""
        nodes = [found["Resources"] for found in self._nodes()]
        wanted = {"CPU": self.options.cores, "memory": self.options.memory * 1e9}
        if any(has.get("GPU") for has in nodes):
            wanted["GPU"] = self.options.gpus
        if any(all(has.get(name, 0) >= n for name, n in wanted.items()) for has in nodes):
            return
        asked = f"--job-cores {self.options.cores}"
        if "GPU" in wanted:
            asked += f" --job-gpus {self.options.gpus:g}"
        if self.options.memory:
            asked += f" --job-memory {self.options.memory:g}"
        raise HarnessError(
            f"executor ray: no node has what a group of jobs is to get ({asked}); there is "
            f"{self.where.partition(', of which')[0]}; ask for less"
        )

    def _check_nodes(self) -> None:
        """Raise HarnessError unless all nodes see the store and have the versions of this one."""
        from ray.exceptions import RayError
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        token = f"seen-by-nodes-{secrets.token_hex(8)}"
        path = self.store.root / token
        path.write_text(token, encoding="utf-8")
        look = self.ray.remote(node.look)
        about = str(self.store.root), token, self.session.without
        asked = {}
        try:
            for found in self._nodes():
                here = NodeAffinitySchedulingStrategy(found["NodeID"], soft=False)
                options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": here}
                answer = look.options(**options).remote(*about)
                asked[answer] = found["NodeName"] or found["NodeManagerAddress"]
            ours = node.versions(self.session.without)
            for answer, name in asked.items():
                try:
                    seen = self.ray.get(answer, timeout=ANSWER)
                except RayError as error:
                    why = str(getattr(error, "cause", None) or error).splitlines()[0]
                    raise HarnessError(
                        f"executor ray: node {name} cannot run the harness ({why}); install the "
                        "same histo-harness[ray] there, or take the node out"
                    ) from error
                if seen.problem:
                    raise HarnessError(
                        f"executor ray: node {name} does not see the store {self.store.root} "
                        f"({seen.problem}); name a folder that all nodes share with --store, "
                        "or take the node out"
                    )
                for package in sorted(ours.keys() | seen.versions.keys()):
                    own, theirs = (
                        known.get(package, "not installed") for known in (ours, seen.versions)
                    )
                    if own != theirs:
                        raise HarnessError(
                            f"executor ray: node {name} has {package} {theirs}, this one {own}; "
                            "install the same version on all nodes, or take the node out"
                        )
        finally:
            path.unlink(missing_ok=True)

    @property
    def where(self) -> str:
        """What computes: the nodes, and what Ray reserves on them for a group."""
        nodes = []
        for found in self._nodes():
            has, name = found["Resources"], found["NodeName"] or found["NodeManagerAddress"]
            if has.get("CPU"):
                gpus = f", GPUs: {has['GPU']:g}" if has.get("GPU") else ""
                memory = f", {has.get('memory', 0) / 1e9:.0f} GB" if self.options.memory else ""
                nodes.append(f"{name} (cores: {has['CPU']:g}{gpus}{memory})")
        group = f"cores: {self.options.cores}"
        if self.ray.cluster_resources().get("GPU", 0):
            group += f", and GPUs: {self.options.gpus:g} if it runs a network"
        if self.options.memory:
            group += f", and {self.options.memory:g} GB"
        return f"Ray on {', '.join(sorted(nodes))}, of which a group of jobs takes {group}"

    @property
    def has_room(self) -> bool:
        """Whether Ray ought to get one more group."""
        if self.options.jobs > 1:
            return len(self.running) < self.options.jobs
        cores = self.ray.cluster_resources().get("CPU", 1) / self.options.cores
        return len(self.running) < max(2.0, AHEAD * float(cores))

    def estimate(self, job: JobSpec) -> float | None:
        """Seconds that a fit takes on a node; None when that cannot be told."""
        from ray.exceptions import RayError

        asked = self.ray.remote(node.estimate).options(**self._resources([job]), max_retries=0)
        try:
            found = self.ray.get(asked.remote(self._task([job])), timeout=ANSWER)
        except RayError:
            return None
        return None if found is None else float(found)

    def submit(self, group: Sequence[JobSpec]) -> None:
        """Hand a group to Ray."""
        # A process that runs models of one plugin runs none of another: ``Worker`` renews it.
        task = self.ray.remote(node.compute).options(
            **self._resources(group),
            max_retries=TRIES - 1,
            retry_exceptions=[node.KilledError],
            name=group[0].title or group[0].label,
        )
        self.running[task.remote(self._task(group))] = group

    def next(self, seconds: float) -> Event | None:
        """What happened next; None if nothing did for so long."""
        if not self.events and self.running:
            ready, _ = self.ray.wait([*self.running], num_returns=1, timeout=seconds)
            for reference in ready:
                self._take(reference, self.running.pop(reference))
        return self.events.popleft() if self.events else None

    def _take(self, reference: Any, group: Sequence[JobSpec]) -> None:
        from ray.exceptions import RayError, RayTaskError

        try:
            done: Done = self.ray.get(reference)
        except RayTaskError as error:
            self._failed(group, error.cause, str(error))
        except RayError as error:
            self._failed(group, error, str(error))
        else:
            for message in done.said:
                messages.relay(message)
            self.computed[done.node] += 1
            for job in group:
                problem = done.problems.get(job.key.digest, Problem(Failure("interrupted")))
                self.events.append(Event(group, job, problem))
        self.events.append(Event(group))

    def _failed(self, group: Sequence[JobSpec], error: BaseException, details: str) -> None:
        """All jobs of a group have failed that Ray has given up."""
        if isinstance(error, node.KilledError):
            why = f"tried {TRIES} times, and the last time {error}"
        else:
            first = (str(error).splitlines() or [""])[0]
            why = f"lost {TRIES} times with its process or node ({type(error).__name__}: {first})"
        for job in group:
            failure = failures.keep(self.store, job.key.digest, why, details)
            self.events.append(Event(group, job, Problem(failure)))

    def _resources(self, group: Sequence[JobSpec]) -> dict[str, float]:
        """What Ray reserves for a group: cores, and a GPU for a network where there is one."""
        wanted: dict[str, float] = {"num_cpus": self.options.cores}
        if self._has_gpu(group):
            wanted["num_gpus"] = self.options.gpus
        if self.options.memory:
            wanted["memory"] = int(self.options.memory * 1e9)
        return wanted

    def _has_gpu(self, group: Sequence[JobSpec]) -> bool:
        network = any(job.network for job in group)
        return network and self.ray.cluster_resources().get("GPU", 0) > 0

    def _task(self, group: Sequence[JobSpec]) -> Task:
        return Task(
            session=self.session.as_json(),
            folder=str(Path.cwd()),
            files=self.files,
            cores=self.options.cores,
            gpu=self._has_gpu(group),
            minutes=self.options.minutes,
            kept=1 if self.options.memory or self._has_gpu(group) else node.AT_ONCE,
            level=messages.LOGGER.getEffectiveLevel(),
            jobs=[job.as_json() for job in group],
        )


def _quiet() -> None:
    """Let what Ray prints of lost nodes, pages of it to standard output, be messages of ours.

    Ray has no option for it. Where it is printed otherwise one day, it is as before.
    """
    with contextlib.suppress(ImportError, AttributeError):
        from ray._private import worker

        if worker.print_to_stdstream is not _said:
            worker.print_to_stdstream = _said


def _said(data: Any, ignore_prefix: bool = False) -> None:
    """Log what Ray has to say: a line for a node that is gone, all else for whoever debugs."""
    for text in map(str, data.get("lines", ())):
        if dead := re.search(r"node name: (\S+) has been marked dead", text):
            log.warning(f"node {dead[1]} is gone; what it was computing is computed elsewhere")
        elif first := text.strip().partition("\n")[0]:
            log.debug(f"Ray: {first[:300]}")


def _check_listens(address: str) -> None:
    """Raise OSError unless something listens at an address; Ray would try for many minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT).close()


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UnavailableError(
            "executor ray: Ray is not installed; `pip install 'histo-harness[ray]'` here and on "
            "all nodes"
        ) from error
    return ray
