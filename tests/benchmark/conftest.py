"""Finished results that many tests read, and splits of two domains."""

from types import SimpleNamespace

import pytest

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="session")
def bench(run_tiny, tmp_path_factory):
    """Paths of results in a folder that no test changes: CoOp with two seeds has checkpoints."""
    folder = tmp_path_factory.mktemp("bench")

    def path(method, **asked):
        return folder / run_tiny(method, results=folder, **asked).settings.file_name()

    learn = {"options": {"n_ctx": "4"}, "train": {"epochs": 2, "batch_size": 8}}
    return SimpleNamespace(
        folder=folder,
        zero_shot=path("zero_shot"),
        random=path("random"),
        coop=path("coop", seed=0, **learn),
        other_seed=path("coop", seed=1, **learn),
    )


@pytest.fixture(scope="session")
def zero_shot(bench):
    from benchmark.result import read_result

    return read_result(bench.zero_shot)


@pytest.fixture(scope="session")
def uneven_domains(make_row, make_dataset, make_drawing):
    """Two domains of different size, and images with one to three captions, far apart in the rows."""
    rows = []
    for turn in range(3):
        for domain, colors in (("near", ("red", "blue")), ("far", ("red", "green", "black"))):
            for color in colors[turn % 2 :]:
                for place in ("left", "right"):
                    image = make_drawing(color, "square" if domain == "far" else "circle", place)
                    caption = f"a {color} circle {'on the left' if turn else place}"
                    rows.append(make_row(len(rows), image, caption, "circle", domain=domain))
    test = make_dataset(rows, "test")
    assert len(test) > max(len(test.image_digests), len(test.captions))
    return {"test": test}


@pytest.fixture(scope="session")
def two_domains(make_row, make_dataset, make_drawing):
    """Splits of four circles in a domain, and of eight squares and triangles in another."""

    def split(name):
        rows = []
        for domain, shapes in (("round", ("circle",)), ("edged", ("square", "triangle"))):
            for color in ("red", "green", "blue", "black"):
                for shape in shapes:
                    caption = f"a {color} {shape} on the {'left' if name == 'test' else 'right'}"
                    image = make_drawing(color, shape, "left" if name == "train" else "right")
                    rows.append(make_row(len(rows), image, caption, shape, domain=domain))
        return make_dataset(rows, name)

    return {name: split(name) for name in SPLITS}


@pytest.fixture(scope="session")
def folders(tmp_path_factory, saved_clip):
    """Folders of a random model of each architecture."""
    from tests.tiny_encoders import ARCHITECTURES, save

    root = tmp_path_factory.mktemp("encoders")
    return {"clip": saved_clip, **{name: save(name, root / name) for name in ARCHITECTURES}}


@pytest.fixture(scope="session")
def encoders(folders):
    from benchmark import load_backbone

    return {name: load_backbone(str(folder), device="cpu") for name, folder in folders.items()}
