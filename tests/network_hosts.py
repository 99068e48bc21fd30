"""Hosts with a network, an address, shared memory and one folder of their own, on one machine (Linux, root)."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

MISSING = os.name != "posix" or not shutil.which("ip") or os.geteuid() != 0
"""Whether this machine certainly makes no network namespaces."""


NETWORK = "10.77.0"


class Host:
    """A host; `start` runs a command on it. Its own folder has the same path, `local`, on every host."""

    def __init__(self, name, address, local, content):
        self.name, self.address, self.local, self.content = name, address, local, content

    def start(self, command, folder, **variables):
        """Start a command. Its output goes to files in `folder`, which a killed host leaves readable."""
        script = f"""mount -t tmpfs -o size=256m tmpfs /dev/shm &&
            mount --bind '{self.content}' '{self.local}' && exec "$@\""""
        with (folder / "stdout").open("ab") as out, (folder / "stderr").open("ab") as err:
            namespace = f"ip netns exec {self.name} sh -c".split()
            command = [*namespace, script, "sh", *map(str, command)]
            streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err}
            environment = {**os.environ, **variables}
            return subprocess.Popen(command, cwd=folder, env=environment, **streams)

    def pids(self):
        return _pids(self.name)

    def kill(self):
        """Kill all processes at once."""
        _kill(self.name)


@contextmanager
def network_hosts(count):
    """Yield hosts behind one bridge. Nothing of them remains, and the network of this machine is not touched."""
    # The paths of sockets must be short, so this is not below the folder of a test.
    with tempfile.TemporaryDirectory(prefix="fdrd-", ignore_cleanup_errors=True) as folder:
        local = made(Path(folder, "local"))
        with _namespaces(count) as names:
            yield [
                Host(name, f"{NETWORK}.{number}", local, made(Path(folder, str(number))))
                for number, name in enumerate(names, 1)
            ]


def made(folder):
    folder.mkdir()
    return folder


@contextmanager
def _namespaces(count):
    prefix = f"fdrd-{os.getpid()}"
    switch, names = f"{prefix}-switch", []
    if subprocess.run(["ip", "netns", "add", switch], capture_output=True).returncode:
        pytest.skip("this machine allows no network namespaces")
    names.append(switch)
    try:
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for number in range(1, count + 1):
            name = f"{prefix}-{number}"
            _ip("netns", "add", name)
            names.append(name)
            peer = ("peer", "name", f"port{number}", "netns", switch)
            _ip("link", "add", "eth0", "netns", name, "type", "veth", *peer)
            _ip("-n", switch, "link", "set", f"port{number}", "master", "bridge", "up")
            _ip("-n", name, "address", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", name, "link", "set", device, "up")
        yield names[1:]
    finally:
        for name in reversed(names):
            _kill(name)
            _ip("netns", "delete", name)


def _pids(name):
    return [int(pid) for pid in _ip("netns", "pids", name).split()]


def _kill(name):
    while pids := _pids(name):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout
