"""Measure `fdrd view`: 20 clients browse, filter and search at once; latency and memory of the server.

    python speed/viewer.py data/fdrd --clients 20 --requests 50

Each client asks for one page after another without a pause. Every request has another filter, so that the kept
selections of the server do not help.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

from harness import proportional_bytes

from fdrd.viewer.index import Index, open_index

KINDS = ("first page", "one filter", "two filters", "search and filter", "later page", "review")


def main() -> None:
    """Run the clients and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("dataset", type=Path)
    add("--clients", type=int, default=20)
    add("--requests", type=int, default=50, help="of each client")
    options = parser.parse_args()
    started = time.perf_counter()
    index = open_index(options.dataset)
    seconds = time.perf_counter() - started
    print(f"index of {index.columns.size:,} rows opened (or built) in {seconds:.1f} s")
    command = [sys.executable, *"-m fdrd view --port 0 --no-browser".split(), str(options.dataset)]
    command += ["--review", "speed"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = next(line for line in server.stdout if "http://" in line)
        port, _, token = line.partition("http://127.0.0.1:")[2].strip().partition("/?token=")
        times = _run(index, int(port), token, options)
        _report(times, server.pid)
    finally:
        server.terminate()
        server.wait()


def _run(
    index: Index, port: int, token: str, options: argparse.Namespace
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}

    def client(seed: int) -> None:
        chance = random.Random(seed)
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Cookie": f"fdrd_view_{port}={token}"}
        for _ in range(options.requests):
            kind = chance.choice(KINDS)
            page = "review" if kind == "review" else ""
            path = f"/{page}?{urlencode(_query(index, kind, chance))}"
            before = time.perf_counter()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            times[kind].append(time.perf_counter() - before)
            assert answer.status == 200, path

    warm = HTTPConnection("127.0.0.1", port, timeout=60)
    while True:
        warm.request("GET", "/", headers={"Cookie": f"fdrd_view_{port}={token}"})
        if b"Reading the images once" not in warm.getresponse().read():
            break
        time.sleep(1)
    with ThreadPoolExecutor(options.clients) as pool:
        list(pool.map(client, range(options.clients)))  # raises what a client raised
    return times


def _query(index: Index, kind: str, chance: random.Random) -> list[tuple[str, str]]:
    labels = index.columns.labels
    facets = ["category", "value", "meta", "length", "type", "split"]

    def one(name: str) -> tuple[str, str]:
        return name, chance.choice(labels[name] or ["none"])

    if kind == "one filter":
        return [one(chance.choice(facets))]
    if kind == "two filters":
        return [one(name) for name in chance.sample(facets, 2)]
    if kind == "search and filter":
        value = chance.choice(labels["value"] or ["none"]).partition(": ")[2]
        return [("q", value), one("split")]
    if kind == "review":
        return [one("split"), ("queue", "stratified")]
    if kind == "later page":
        return [("page", str(chance.randint(2, 400))), one("split")]
    return []


def _report(times: dict[str, list[float]], pid: int) -> None:
    everything = [each for several in times.values() for each in several]
    for name, several in (*times.items(), ("all", everything)):
        ordered = sorted(several)
        p50, p95 = (1000 * ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.95))
        latency = f"median {p50:6.1f} ms  95th percentile {p95:6.1f} ms"
        print(f"{name:18} {len(ordered):6,} requests  {latency}")
    print(f"memory of the server: {proportional_bytes(pid) / 2**20:.0f} MiB PSS")


if __name__ == "__main__":
    main()
