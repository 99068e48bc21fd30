"""The account of a captioning run, safe to share between threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class Spending:
    """Money spent by one run, in the currency of the user's prices.

    The maximum cost of a question is reserved before it is sent. Requests in flight can thus never exceed the budget.

    >>> spending = Spending(budget=1.0)
    >>> spending.reserve(0.6), spending.reserve(0.6)
    (True, False)
    >>> spending.settle(0.6, 0.2); spending.reserve(0.6)
    True
    """

    budget: float | None = None
    spent: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    _reserved: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def reserve(self, cost: float | None) -> bool:
        """Reserve the maximum cost of a question. Return False if the budget does not allow it."""
        cost = cost or 0.0
        with self._lock:
            if self.budget is not None and self.spent + self._reserved + cost > self.budget:
                return False
            self._reserved += cost
            return True

    def settle(
        self,
        reserved: float | None,
        cost: float | None,
        input_tokens: int = 0,
        output_tokens: int = 0,
    ) -> None:
        """Replace a reservation with the actual cost."""
        with self._lock:
            self._reserved -= reserved or 0.0
            self.spent += cost or 0.0
            self.input_tokens += input_tokens
            self.output_tokens += output_tokens
