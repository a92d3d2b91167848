"""Two Linux network namespaces joined by a veth pair, which stand for two machines of a cluster."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from commands import environment
from conftest import missing

INTERFACE = "veth0"
"""The name of the network card on either host."""

ADDRESSES = ("192.0.2.1", "192.0.2.2")
"""Of a range that is set aside for examples, so that no real host is hidden (RFC 5737)."""

PORT = 29500
"""Free on both hosts: a namespace has all ports to itself."""


@dataclass(frozen=True)
class Host:
    """One of the two namespaces; both see the same files, as machines with a shared file system do.

    Attributes:
        namespace: its name, as `ip netns list` prints it.
        address: of its end of the cable.
    """

    namespace: str
    address: str

    def start(self, command: list[str], *, cwd: Path, log: Path, **more: str) -> subprocess.Popen[bytes]:
        """Starts a command on this host; what it prints is appended to `log`.

        Args:
            command: program and arguments.
            cwd: where it runs.
            log: takes standard output and standard error.
            more: environment variables beside those of `commands.environment`.
        """
        # A look-up of this machine's name may lead to 127.0.0.1, so gloo is given the interface to use.
        settings = environment(**{"GLOO_SOCKET_IFNAME": INTERFACE, **more})
        within = ["ip", "netns", "exec", self.namespace, *command]
        with log.open("ab") as file:
            return subprocess.Popen(
                within, cwd=cwd, env=settings, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )

    def processes(self) -> list[int]:
        """The numbers of all processes on this host."""
        return [int(word) for word in _ip("netns", "pids", self.namespace).split()]

    def unplug(self) -> None:
        """Takes the cable out: what is sent arrives nowhere and nothing says so, as when a machine loses its power."""
        _ip("-n", self.namespace, "link", "set", INTERFACE, "down")

    def plug_in(self) -> None:
        """Puts the cable back."""
        _ip("-n", self.namespace, "link", "set", INTERFACE, "up")

    def kill(self) -> None:
        """Ends every process on this host with kill -9, and those that were being started meanwhile."""
        deadline = time.monotonic() + 30
        while processes := self.processes():
            assert time.monotonic() < deadline, f"processes {processes} outlive kill -9"
            for number in processes:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            time.sleep(0.02)


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts that reach each other and nothing else; on leaving, all that runs on them is killed and they go.

    Skips the test (or fails it, see `missing`) where namespaces can't be made.
    """
    if shutil.which("ip") is None:
        missing("netns", "ip is not installed (Debian: iproute2)")
    if os.geteuid() != 0:
        missing("netns", "network namespaces need root")
    name = f"earshot-{os.getpid()}-{secrets.token_hex(3)}"
    hosts = tuple(Host(f"{name}-{number}", address) for number, address in enumerate(ADDRESSES))
    try:
        try:
            _join(*hosts)
        except subprocess.CalledProcessError as error:
            missing("netns", f"network namespaces are not permitted here: {error.stderr.strip()}")
        yield hosts[0], hosts[1]
    finally:
        for host in hosts:
            _remove(host)


def _join(first: Host, second: Host) -> None:
    for host in (first, second):
        _ip("netns", "add", host.namespace)
        _ip("-n", host.namespace, "link", "set", "lo", "up")
    peer = ("peer", "name", INTERFACE, "netns", second.namespace)
    _ip("link", "add", INTERFACE, "netns", first.namespace, "type", "veth", *peer)
    for host in (first, second):
        _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", INTERFACE)
        host.plug_in()


def _remove(host: Host) -> None:
    # One that could not be made has no processes and can't be deleted; that is no reason to leave the other behind.
    with suppress(subprocess.CalledProcessError):
        host.kill()
    subprocess.run(["ip", "netns", "delete", host.namespace], capture_output=True, check=False)


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout
