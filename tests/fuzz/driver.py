"""Shared by the fuzz tests: mutations of seeds, and the loop over them. A seed is a target and the content of a file.

FDRD_EXAMPLES sets the number of inputs, e.g. FDRD_EXAMPLES=1000000 pytest -n0 tests/fuzz
"""

from __future__ import annotations

import json
import os
import random

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
    """Return content with random edits; JSON may stay JSON."""
    if rng.randrange(2) and (edited := _edit_json(seed, rng)) is not None:
        return edited
    data = bytearray(seed)
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
    return bytes(data)


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


def run_mutations(check, seeds):
    """Check random mutations of the seeds; an error shows the input that failed."""
    rng = random.Random(0)
    for _ in range(int(os.environ.get("FDRD_EXAMPLES", "300"))):
        target, seed = rng.choice(seeds)
        data = mutate(seed, rng)
        try:
            check(target, data)
        except BaseException as error:
            error.add_note(f"input: {data!r}")
            raise
