"""Scores of natural pairs, as in Winoground (arXiv 2204.03162): the caption of each image is false for the other.

Both captions are right once and wrong once. So a method that ignores the image wins no pair, and one that ignores
the caption wins none either.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmark.evaluation.ranking import Similarity, distinct
from benchmark.models.backbone import Features
from benchmark.result import PairWins, digits
from fdrd.dataset import Indices, RetrievalDataset
from fdrd.record import Kind


@torch.no_grad()
def natural_pair_wins(
    similarity: Similarity, images: Features, texts: Features, dataset: RetrievalDataset
) -> dict[Kind, PairWins]:
    """Return by kind which natural pairs of a dataset are won; a tie is a loss.

    Args:
        similarity: scores of images with captions.
        images: features of the dataset's I images.
        texts: features of its C captions.
        dataset: rows with their natural pairs.
    """
    found: dict[Kind, PairWins] = {}
    for kind, pairs in dataset.natural_pairs.items():
        scores = np.array(
            [_scores(similarity, images, texts, dataset.pairs[rows]) for rows in pairs]
        )
        if len(pairs):
            found[kind] = pair_wins(pairs, scores)
    return found


def pair_wins(pairs: Indices, scores: Indices) -> PairWins:
    """Return which pairs are won.

    Args:
        pairs: (P, 2) the rows of each pair.
        scores: (P, 2, 2) scores of the images of both rows with the captions of both.

    >>> pair_wins(np.array([[0, 1], [2, 3]]), np.array([[[2, 1], [1, 2]], [[2, 1], [2, 3]]]))
    PairWins(rows='0 1 2 3', text='11', image='10', caption_of_row='1111')
    """
    true, false = scores[:, [0, 1], [0, 1]], scores[:, [0, 1], [1, 0]]
    captions = true > false  # of each image
    image = (true > false[:, ::-1]).all(axis=1)  # of each caption
    wins = (captions.all(axis=1), image, captions.ravel())
    return PairWins(" ".join(map(str, pairs.ravel())), *map(digits, wins))


def _scores(similarity: Similarity, images: Features, texts: Features, rows: Indices) -> Indices:
    """Return (2, 2) scores. Equal vectors have equal scores, which a matrix product does not promise."""
    image_vectors, image = distinct(images[rows[:, 0]])
    text_vectors, text = distinct(texts[rows[:, 1]])
    scores: Indices = similarity(image_vectors, text_vectors).float().cpu().numpy()
    return scores[np.ix_(image, text)]
