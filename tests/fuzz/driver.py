"""Shared by the fuzz targets: mutations, a loop without dependencies, and the coverage-guided loop of atheris.

The first byte of an input selects what is fuzzed, the rest is the content of a file.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from types import FunctionType

_TOKENS = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\0", b"\xff", b"\\", b"\t", b"..", b"/"),
    *(b"null", b"true", b"-1", b"1e999", b"99999999999999999999", b'"caption"', b"\\ud800"),
    *(b"\xe2\x80\xae", b"=", b"---\n", b"<!-- ", b"- ", b"&a ", b"*a", b"!!python/name:os.system"),
)
_ODD = (
    *(None, True, -1, 0, 1, 2**70, 1e308, -0.5, "", "\0", "\ud800", "../x", "/x", "x" * 5000),
    *("\u202e", [], {}, [[]], {"": None}, "a b", "1 2", float("nan")),
)


def mutate(seed, rng):
    """Return a seed with random edits that keep its first byte; JSON may stay JSON."""
    if rng.randrange(2) and (edited := _edit_json(seed[1:], rng)) is not None:
        return seed[:1] + edited
    data = bytearray(seed[1:])
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        to = min(len(data), at + rng.choice((1, 1, 4, 32)))
        match rng.randrange(5):
            case 0:
                data[at:to] = bytes(rng.randrange(256) for _ in range(to - at))
            case 1:
                del data[at:to]
            case 2:
                data[at:at] = data[at:to]
            case 3:
                data[at:at] = rng.choice(_TOKENS)
            case _:
                data[at:to] = rng.choice(_TOKENS)
    return seed[:1] + bytes(data)


def parts(value):
    """Yield (container, key) of every part of a JSON value."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield value, key
        yield from parts(value[key])


def _edit_json(data, rng):
    """Return JSON or JSON lines with one value replaced or removed; None if it is neither."""
    lines = data.split(b"\n")
    number = rng.randrange(len(lines))
    try:
        value = json.loads(data)
        whole = True
    except (ValueError, RecursionError):
        whole = False
        try:
            value = json.loads(lines[number])
        except (ValueError, RecursionError):
            return None
    places = list(parts(value))
    if not places:
        return None
    for _ in range(rng.randint(1, 2)):
        container, key = rng.choice(places)
        if rng.randrange(4) or isinstance(container, list):
            if isinstance(container, dict) or key < len(container):
                container[key] = rng.choice(_ODD)
        else:
            container.pop(key, None)
    edited = json.dumps(value).encode()
    return edited if whole else b"\n".join([*lines[:number], edited, *lines[number + 1 :]])


def run_mutations(check, seeds, runs, seed=0):
    """Check the seeds and random mutations of them; an error shows the input that failed."""
    rng = random.Random(seed)
    for number in range(runs):
        data = seeds[number] if number < len(seeds) else mutate(rng.choice(seeds), rng)
        try:
            check(data)
        except BaseException as error:
            error.add_note(f"input: {data!r}")
            raise


def main(check, seeds):
    """Run with atheris, or without it if `--plain` is given."""
    if sys.argv[1:2] == ["--plain"]:
        run_mutations(check, seeds, int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else 0)
        return
    import atheris

    first = b""
    if sys.argv[1:2] == ["--only"]:
        first = bytes([int(sys.argv[2])])
        seeds = [seed for seed in seeds if seed[:1] == first]
        del sys.argv[1:3]

    def mutated(data, size, seed):
        rng = random.Random(seed)
        return mutate(data, rng)[:size] if data and rng.randrange(2) else atheris.Mutate(data, size)

    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds):
            Path(folder, str(number)).write_bytes(seed)
        for name, module in list(sys.modules.items()):
            if name.startswith(
                ("fdrd", "benchmark")
            ):  # instrumenting everything would take minutes
                for function in vars(module).values():
                    if isinstance(function, FunctionType) and function.__module__ == name:
                        atheris.instrument_func(function)
        given = [Path(name).is_file() for name in sys.argv[1:]]
        atheris.Setup(
            [*sys.argv, *([] if any(given) else [folder])],
            lambda data: check(first + data[len(first) :]) and None,
            custom_mutator=mutated,
        )
        atheris.Fuzz()
