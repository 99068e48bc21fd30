"""What a run may spend, has spent, and has put aside for questions under way; safe for threads.

Money is in the currency of the prices that the user gave, in any currency.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock

PRICED_TOKENS = 1_000_000
"""Tokens that a price is for, as price lists have it."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Money for a million tokens read and written; None where not known."""

    input: float | None = None
    output: float | None = None

    def cost(self, input_tokens: int, output_tokens: int) -> float | None:
        """What so many tokens cost.

        >>> Prices(2.0, 8.0).cost(500_000, 1_000)
        1.008
        """
        if self.input is None or self.output is None:
            return None
        return (input_tokens * self.input + output_tokens * self.output) / PRICED_TOKENS


@dataclass
class Spending:
    """The account of one run. `budget` is the most that may be spent, or None.

    A question's highest cost is put aside before it is sent, so that answers under way cannot go beyond the budget.

    >>> account = Spending(budget=1.0)
    >>> account.put_aside(0.6), account.put_aside(0.6)
    (True, False)
    >>> account.settle(0.6, 0.2); account.put_aside(0.6)
    True
    """

    budget: float | None = None
    spent: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    _aside: float = 0.0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def put_aside(self, cost: float | None) -> bool:
        """Whether the budget allows a question of this highest cost; if so, that is put aside."""
        cost = cost or 0.0
        with self._lock:
            if self.budget is not None and self.spent + self._aside + cost > self.budget:
                return False
            self._aside += cost
            return True

    def settle(
        self, aside: float | None, cost: float | None, input_tokens: int = 0, output_tokens: int = 0
    ) -> None:
        """Books what a question cost in the place of what was put aside for it."""
        with self._lock:
            self._aside -= aside or 0.0
            self.spent += cost or 0.0
            self.input_tokens += input_tokens
            self.output_tokens += output_tokens
