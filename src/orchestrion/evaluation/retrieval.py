"""Retrieval: how often what belongs together is found among others."""

from collections.abc import Sequence

from torch import Tensor

from orchestrion.errors import UserError

RANKS = (1, 5, 10)


def recall(queries: Tensor, answers: Tensor, ranks: Sequence[int] = RANKS) -> dict[int, float]:
    """queries, answers `[n e]` of unit length, row i belonging to row i -> by k, the share of queries whose answer is
    among the k nearest. Of answers that are equally near, the query's own counts as the last.

    Chance is k / n.
    """
    if queries.shape != answers.shape or len(queries) == 0:
        raise UserError(f"retrieval takes as many answers as queries, of one width; got {tuple(queries.shape)} and "
                        f"{tuple(answers.shape)}")
    nearness = queries @ answers.mT
    own = nearness.diagonal()[:, None]
    before = (nearness >= own).sum(1) - 1
    return {k: float((before < k).float().mean()) for k in ranks if k <= len(queries)}


def distinct(texts: Sequence[str]) -> list[int]:
    """The places of texts that are the first of their wording."""
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        first.setdefault(text.lower().strip(), place)
    return list(first.values())
