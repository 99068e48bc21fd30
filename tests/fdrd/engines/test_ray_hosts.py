"""A build on a Ray cluster of three hosts that share files and nothing else; two of them die on the way."""

import sys
import time
from pathlib import Path

import pytest

import fdrd
from fdrd.build_config import BuildConfig
from tests import network_hosts
from tests.folders import digests

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(network_hosts.MISSING, reason="network namespaces need Linux, ip and root"),
]
ROOT = Path(__file__).parents[3]
GCS = 6379
NODE = [
    *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
    *("--num-cpus", "1", "--object-store-memory", "80000000"),
]
AGAIN = 'until "$@"; do sleep 1; done'  # a node gives up when the head is not there yet
WAIT = """
import sys, time, ray
while True:
    try:
        ray.init(address=sys.argv[1], log_to_driver=False)
    except (ConnectionError, RuntimeError):
        time.sleep(1)
    else:
        break
while ray.cluster_resources().get("CPU", 0) < 3:
    time.sleep(0.5)
"""


@pytest.fixture
def cluster(tmp_path):
    """Return three hosts with a Ray node each; the first is the head."""
    pytest.importorskip("ray")
    with network_hosts.network_hosts(3) as hosts:
        head, *others = hosts
        address = f"{head.address}:{GCS}"
        # The other nodes take the path of the temporary folder from the head.
        first = ["--head", "--port", GCS, "--temp-dir", head.local, "--include-dashboard", "false"]
        patience = {"RAY_worker_register_timeout_seconds": "600"}
        patience["RAY_agent_register_timeout_ms"] = "600000"
        for host in hosts:
            role = ["--address", address] if host in others else first
            command = ["sh", "-c", AGAIN, "sh", *NODE, *role, "--node-ip-address", host.address]
            host.start(command, network_hosts.made(tmp_path / host.name), **patience)
        waiting = network_hosts.made(tmp_path / "waiting")
        done = hosts[0].start([sys.executable, "-c", WAIT, address], waiting)
        assert done.wait(600) == 0, (waiting / "stderr").read_text()
        yield hosts


def is_busy(host):
    """Whether a task runs on a host: Ray names its processes after what they do."""
    names = (Path(f"/proc/{pid}/cmdline") for pid in host.pids())
    return any(b"ray::_call" in name.read_bytes() for name in names if name.exists())


def kill_when(reached, host, build, output):
    """Kill a host while it works, once the build has reached a step."""
    while not (reached() and is_busy(host)):
        assert build.poll() is None, f"the build ended too early: {output.read_text()}"
        time.sleep(0.01)
    host.kill()


def test_a_build_that_loses_hosts_writes_the_same_bytes(cluster, tmp_path):
    fdrd.sample(tmp_path / "raw", categories=12, pairs=1200, size=64)
    config = BuildConfig(shard_bytes=2**18)
    fdrd.build(tmp_path / "raw", tmp_path / "local", config=config)
    variables = {"PYTHONPATH": str(ROOT), "RAY_ADDRESS": f"{cluster[0].address}:{GCS}"}
    build = cluster[0].start([sys.executable, "-c", BUILD], tmp_path, **variables)
    work = tmp_path / "ray.work"
    steps = [(work / "examined.jsonl").is_file, lambda: any(work.glob("stage/data/*/*.arrow"))]
    for reached, host in zip(steps, cluster[1:], strict=True):
        kill_when(reached, host, build, tmp_path / "stderr")
    assert build.wait(600) == 0, (tmp_path / "stderr").read_text()
    assert len(digests(tmp_path / "ray")) > 12
    assert digests(tmp_path / "ray") == digests(tmp_path / "local")


# Relative paths, because the processes of Ray have other working folders.
BUILD = """
import fdrd
from fdrd.build_config import BuildConfig
fdrd.build("raw", "ray", config=BuildConfig(shard_bytes=2**18), engine="ray")
"""
