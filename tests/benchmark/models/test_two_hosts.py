"""A training with `torchrun` on two hosts that share files and nothing else gives what one process gives."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

import fdrd
from tests import network_hosts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(network_hosts.MISSING, reason="network namespaces need Linux, ip and root"),
]
TESTS = Path(__file__).parents[2]
BACKBONE = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from tiny import tiny_backbone
"""
METHODS = ("coop", "clip_adapter")
"""Prompts in a tower that all processes run; features that are cached on each host."""
LIMIT = 900


SGD = ("optimizer=sgd", "learning_rate=0.05", "epochs=2", "batch_size=9", "keep_untrained=no")
"""SGD, because the bias of keys has only rounding as gradient, which AdamW would amplify."""


def bench(host, folder, cache, results, methods, launcher=()):
    """Start `fdrd bench` on a host, with caches that only this host has."""
    cache.mkdir(exist_ok=True)
    command = [sys.executable, "-m", *launcher, "fdrd", "bench", folder / "data"]
    options = [*(("--method", each) for each in methods), *(("-T", each) for each in SGD)]
    command += ["--results", results, "--backbone", f"{folder}/tiny.py:tiny_backbone"]
    return host.start(
        [*command, "--no-hard-negatives", *(part for option in options for part in option)],
        cache,
        PYTHONPATH=str(TESTS.parent),
        OMP_NUM_THREADS="1",
        GLOO_SOCKET_IFNAME="eth0",
        HF_HOME=str(cache),
        FDRD_CACHE=str(cache),
    )


def bench_on_two(hosts, folder, results, methods):
    """Return the exit codes and the output of `torchrun` on both hosts; `results` has a folder for each."""
    started, caches = [], [folder / "cache0", folder / "cache1"]
    nodes = ("--nnodes", "2", "--nproc-per-node", "1")
    for rank, host in enumerate(hosts):
        meeting = ("--rdzv-endpoint", f"{hosts[0].address}:29400", "--node-rank", rank)
        launcher = ["torch.distributed.run", *nodes, *meeting, "-m"]
        started.append(bench(host, folder, caches[rank], results[rank], methods, launcher))
    codes = [process.wait(LIMIT) for process in started]
    return codes, "".join(said(cache) for cache in caches)


def said(cache):
    return "".join((cache / name).read_text() for name in ("stdout", "stderr"))


@pytest.fixture(scope="module")
def hosts():
    pytest.importorskip("accelerate")
    with network_hosts.network_hosts(2) as made:
        yield made


@pytest.fixture(scope="module")
def folder(hosts, tmp_path_factory):
    """Return a folder with a dataset, and results of one process in `alone` and of two hosts in `together`."""
    folder = tmp_path_factory.mktemp("shared")
    fdrd.sample(folder / "raw", categories=3, pairs=36, size=32, workers=1)
    fdrd.build(folder / "raw", folder / "data", workers=1)
    (folder / "tiny.py").write_text(BACKBONE)
    alone = bench(hosts[0], folder, folder / "cache", folder / "alone", METHODS)
    assert alone.wait(LIMIT) == 0, said(folder / "cache")
    for method in METHODS:
        # Both hosts have cached features of the first method, until one of them loses its disk.
        shutil.rmtree(folder / "cache1", ignore_errors=True)
        codes, output = bench_on_two(hosts, folder, [folder / "together"] * 2, [method])
        assert codes == [0, 0], output
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_two_hosts_give_the_results_of_one_process(folder, method):
    (path,) = (folder / "alone").glob(f"{method}-*.json")
    other = folder / "together" / path.name
    one, two = (load_file(each.with_suffix(".safetensors")) for each in (path, other))
    for key, value in one.items():
        assert (value - two[key]).abs().max() < 1e-5, key
    fits = [json.loads(each.read_text())["fit"]["epochs"] for each in (path, other)]
    mine, theirs = ([epoch["loss"] for epoch in fit] for fit in fits)
    assert mine == pytest.approx(theirs, abs=1e-5)


def test_hosts_that_do_not_share_the_results_are_an_error_and_no_deadlock(folder, hosts):
    codes, output = bench_on_two(hosts, folder, [folder / "together", folder / "mine"], ["coop"])
    assert 0 not in codes
    assert "together differs between the machines" in output
