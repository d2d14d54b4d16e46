"""Real Apache Kafka (KRaft) on loopback, one broker or three, its jars from Maven Central; needs Java 17 and Maven.

``python -m tests.services.kafka up`` starts it and prints its address, ``down`` stops it, ``run`` stops it at Ctrl-C.
``--brokers 3`` starts a cluster of three: each topic in three copies, a write acknowledged once two have it.
Everything lies under ``build/services``; deleting that folder costs one download.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.live import free_port

VERSION = "4.3.1"
BUILD = Path(__file__).parents[2] / "build" / "services"
FOLDER = BUILD / "kafka"
SUMS = Path(__file__).with_suffix(".sha256")

_FETCH_S, _READY_S, _STOP_S, _LOOK_S = 300.0, 180.0, 30.0, 0.5
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError")
_SOON = "-XX:TieredStopAtLevel=1"
"""Half an optimising compiler is enough for tests, and starts in half the time."""
_CLUSTER_ID = "QXZhbGlzdFRlc3RzMDAwMQ"
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG

_POM = """<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>avalist</groupId><artifactId>services</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{kafka}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""

_PROPERTIES = """process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control}
log.dirs={data}
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=2
offsets.topic.num.partitions=1
offsets.topic.replication.factor={copies}
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr=1
default.replication.factor={copies}
min.insync.replicas={insync}
group.initial.rebalance.delay.ms=0
# A member of a group, or a broker, counts as lost sooner than by default: tests wait for it.
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1000
# It ends itself where it is not known by then, and a busy machine takes its time to start all three.
initial.broker.registration.timeout.ms=600000
"""


class Unobtainable(Exception):
    """Java, Maven or the jars are not to be had here; the message says which."""


def jars() -> Path:
    """Return the folder of Kafka's jars, fetched once and checked each time against ``kafka.sha256``.

    Raises ``Unobtainable``; ``ValueError`` for a jar that is not the pinned one.
    """
    folder = BUILD / f"kafka-{VERSION}"
    _check_tools()
    if not folder.exists():
        _fetch(folder)
    _check_sums(folder)
    return folder


def _check_tools() -> None:
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if missing:
        raise Unobtainable(f"not on PATH: {', '.join(missing)} (Kafka needs Java 17 and Maven)")
    said = subprocess.run(("java", "-version"), capture_output=True, text=True, check=False).stderr
    major = re.search(r'version "(\d+)', said)
    if major is None or int(major.group(1)) < 17:
        raise Unobtainable(f"Kafka needs Java 17 or newer; 'java -version' says {said.strip()!r}")


def _fetch(folder: Path) -> None:
    new = folder.with_suffix(f".{os.getpid()}")
    new.mkdir(parents=True)
    try:
        (new / "pom.xml").write_text(_POM.format(kafka=VERSION))
        command = ("mvn", "-B", "-q", "-f", str(new / "pom.xml"), _COPY, f"-DoutputDirectory={new}")
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_S, check=False)
        if ran.returncode:
            raise Unobtainable(f"Maven could not fetch Kafka {VERSION}: {ran.stdout[-500:]}")
        new.replace(folder)
    except subprocess.TimeoutExpired:
        raise Unobtainable(f"Maven did not fetch Kafka {VERSION} in {_FETCH_S:.0f} s") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _check_sums(folder: Path) -> None:
    pinned = {name: digest for digest, name in (line.split() for line in SUMS.read_text().splitlines())}
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.glob("*.jar")}
    wrong = sorted(name for name in pinned.keys() | found.keys() if pinned.get(name) != found.get(name))
    if wrong:
        raise ValueError(f"not the jars pinned in {SUMS.name}: {', '.join(wrong)}")


class Broker(NamedTuple):
    """A running broker: the id of its process, which leads a group of its own, and the address for clients."""

    pid: int
    servers: str
    folder: Path

    @property
    def client(self) -> dict[str, str | int | float | bool]:
        """Return the settings of a client, which logs nothing."""
        return {"bootstrap.servers": self.servers, "log_level": 0}

    def create(self, topic: str, partitions: int = 1) -> None:
        """Create a topic, unless there is one of that name."""
        admin = AdminClient(self.client)
        if topic not in admin.list_topics(timeout=_READY_S).topics:
            made = admin.create_topics([NewTopic(topic, partitions, 1)], request_timeout=_READY_S)
            made[topic].result(2 * _READY_S)

    def pause(self) -> None:
        """Let it stand still, its connections open."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ask it to stop, and kill it if it does not."""
        for number in (signal.SIGCONT, signal.SIGTERM):
            os.killpg(self.pid, number)
        until = time.monotonic() + _STOP_S
        while not _dead(self.pid) and time.monotonic() < until:
            time.sleep(0.02)
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        if not _dead(self.pid):
            os.killpg(self.pid, signal.SIGKILL)
            while not _dead(self.pid):
                time.sleep(0.01)
        (self.folder / "broker").unlink(missing_ok=True)


def running(folder: Path = FOLDER) -> Broker | None:
    """Return the broker whose data lies in `folder`, if it runs; one that died is forgotten."""
    note = folder / "broker"
    if not note.exists():
        return None
    pid, servers = note.read_text().split()
    with suppress(OSError):  # it is gone, or goes just now
        if str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            return Broker(int(pid), servers, folder)
    note.unlink(missing_ok=True)
    return None


def start(folder: Path = FOLDER, *, outlives: bool = False) -> Broker:
    """Start a broker, or return the one that runs there; once it is ready. Unless it `outlives` this process, it ends
    with it.

    Raises ``Unobtainable``; ``RuntimeError`` if it does not get ready.
    """
    there = running(folder)
    if there is not None:
        return there
    (broker,) = _launch([folder], [folder], outlives=outlives)
    return broker


class Cluster(NamedTuple):
    """Three brokers; each holds a copy of everything, and two copies make a write durable."""

    brokers: tuple[Broker, ...]

    @property
    def servers(self) -> str:
        """Return the addresses for clients."""
        return ",".join(broker.servers for broker in self.brokers)

    def stop(self) -> None:
        """Ask all to stop, and kill those that do not."""
        for broker in self.brokers:
            broker.resume()
        for broker in self.brokers:
            broker.stop()

    def kill(self) -> None:
        """End all at once."""
        for broker in self.brokers:
            broker.kill()


BROKERS = 3


def start_cluster(folder: Path = FOLDER, *, outlives: bool = False, lasting: bool = False) -> Cluster:
    """Start three brokers with data under `folder`, or those of them that do not run. `lasting` ones have the whole
    compiler, as those of operators do: after some minutes of load a request costs them a third less. Raises as
    :func:`start`.
    """
    folders = [folder / str(n) for n in range(1, BROKERS + 1)]
    there = {one: running(one) for one in folders}
    missing = [one for one in folders if there[one] is None]
    begun = iter(_launch(missing, folders, outlives=outlives, lasting=lasting))
    return Cluster(tuple(there[one] or next(begun) for one in folders))


def running_cluster(folder: Path = FOLDER) -> Cluster | None:
    """Return the cluster whose data lies under `folder`, if all its brokers run."""
    brokers = [running(folder / str(n)) for n in range(1, BROKERS + 1)]
    return Cluster(tuple(broker for broker in brokers if broker)) if all(brokers) else None


def _launch(folders: list[Path], of: list[Path], *, outlives: bool, lasting: bool = False) -> tuple[Broker, ...]:
    """Start a broker in each folder; the cluster is `of` these."""
    java = (
        "java",
        *_JVM,
        *(() if lasting else (_SOON,)),
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        f"{jars()}/*",
    )
    _configure(of)
    with ExitStack() as failed:
        brokers, processes = [], []
        for folder in folders:
            config = folder / "server.properties"
            tool = (*java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", config, "--ignore-formatted")
            subprocess.run(tool, check=True, capture_output=True, timeout=_READY_S)
            with open(folder / "broker.log", "ab") as said:
                process = subprocess.Popen(
                    (*java, "kafka.Kafka", str(config)), stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                    start_new_session=True, preexec_fn=None if outlives else _end_with_parent,
                )  # fmt: skip
            broker = Broker(process.pid, _address(config), folder)
            failed.callback(broker.kill)
            _keep_note(broker)
            brokers.append(broker)
            processes.append(process)
        for broker, process in zip(brokers, processes, strict=True):
            _wait(broker, process)
        failed.pop_all()
    for process in processes:
        process.returncode = 0  # who stops it reaps it by its id
    return tuple(brokers)


def _keep_note(broker: Broker) -> None:
    """Note that it runs, in one step: whoever looks meanwhile reads all of it or nothing."""
    draft = broker.folder / "broker.draft"
    draft.write_text(f"{broker.pid} {broker.servers}")
    draft.replace(broker.folder / "broker")


def _configure(folders: list[Path]) -> None:
    """Write each broker's settings; a cluster that was there before keeps its addresses."""
    configs = [folder / "server.properties" for folder in folders]
    if len(folders) > 1 and all(config.exists() for config in configs):
        return
    controls = [free_port() for _ in folders]
    voters = ",".join(f"{n}@127.0.0.1:{control}" for n, control in enumerate(controls, 1))
    copies = len(folders)
    for node, (folder, config, control) in enumerate(zip(folders, configs, controls, strict=True), 1):
        folder.mkdir(parents=True, exist_ok=True)
        text = _PROPERTIES.format(
            node=node, voters=voters, port=free_port(), control=control, data=folder / "data", copies=copies,
            insync=max(copies - 1, 1),
        )  # fmt: skip
        config.write_text(text)


def _address(config: Path) -> str:
    found = re.search(r"PLAINTEXT://([\d.:]+)", config.read_text())
    assert found is not None
    return found.group(1)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _wait(broker: Broker, process: subprocess.Popen[bytes]) -> None:
    client = AdminClient(broker.client)
    for _ in range(int(_READY_S / _LOOK_S)):  # so many times, however long the machine stands still between
        if process.poll() is not None:
            break
        try:
            client.list_topics(timeout=_LOOK_S)
        except KafkaException:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the broker did not get ready: {(broker.folder / 'broker.log').read_text()[-2000:]}")


def _dead(pid: int) -> bool:
    """Tell whether a process is gone, and reap it if it was a child."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return not Path(f"/proc/{pid}").exists()


def main() -> None:
    """Carry out a command."""
    parser = argparse.ArgumentParser(prog="python -m tests.services.kafka", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "run"))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where its data lies [default: %(default)s]")
    parser.add_argument("--brokers", type=int, choices=(1, BROKERS), default=1, help="[default: %(default)s]")
    arguments = parser.parse_args()
    folder, outlives = arguments.folder.resolve(), arguments.command == "up"
    if arguments.command == "down":
        for one in (folder, *(folder / str(n) for n in range(1, BROKERS + 1))):
            there = running(one)
            if there is not None:
                there.stop()
        return
    begun = start(folder, outlives=outlives) if arguments.brokers == 1 else start_cluster(folder, outlives=outlives)
    brokers = begun.brokers if isinstance(begun, Cluster) else (begun,)
    print(begun.servers, flush=True)
    if arguments.command == "run":
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: begun.stop())
        while not all(_dead(broker.pid) for broker in brokers):
            time.sleep(0.2)


if __name__ == "__main__":
    try:
        main()
    except (Unobtainable, RuntimeError) as error:
        sys.exit(str(error))
