"""The floor of the table."""

import torch

from benchmark import get_method


def test_a_vector_depends_on_content_and_seed_alone():
    random = get_method("random")
    first, other = random(seed=0), random(seed=1)
    captions = ["a cat", "a dog"]
    vectors = first.encode_text(captions).pooled
    assert torch.equal(first.encode_text(captions[::-1]).pooled, vectors.flip(0))
    assert not torch.equal(other.encode_text(captions).pooled, vectors)
