import pytest


@pytest.fixture
def described(make_row, make_dataset, make_drawing):
    """Twelve pairs, whose captions name a category and a color."""
    rows = []
    for color in ("red", "green", "blue", "black"):
        for shape in ("circle", "square", "triangle"):
            row = make_row(
                len(rows), make_drawing(color, shape, "left"), f"a {color} {shape}", shape
            )
            row["attributes"] = [
                {"type": "color", "value": color, "start": 2, "end": 2 + len(color)}
            ]
            rows.append(row)
    return make_dataset(rows, "train")
