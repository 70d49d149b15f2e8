"""Limits on calls and cost that hold before a call is made, not after."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Budget:
    """What may be spent and what is: `calls` and `cost` (USD) include the calls in flight at the most they can cost.

    >>> budget = Budget(max_calls=None, max_cost=1.0)
    >>> budget.reserve(0.7), budget.reserve(0.7)
    (True, False)
    >>> budget.settle(0.7, 0.2)
    >>> budget.reserve(0.7)
    True
    """

    max_calls: int | None
    max_cost: float | None
    calls: int = 0
    cost: float = 0.0
    in_flight: int = 0

    def reserve(self, most: float) -> bool:
        """Take a call that costs `most` at the most out of the budget, or return False if it does not fit."""
        if self.max_calls is not None and self.calls >= self.max_calls:
            return False
        if self.max_cost is not None and self.cost + most > self.max_cost:
            return False
        self.calls += 1
        self.cost += most
        self.in_flight += 1
        return True

    def settle(self, most: float, actual: float) -> None:
        """Replace a reservation by what the call did cost."""
        self.cost += actual - most
        self.in_flight -= 1

    def release(self, most: float) -> None:
        """Give back the reservation of a call that was not answered and costs nothing."""
        self.calls -= 1
        self.cost -= most
        self.in_flight -= 1

    def lose(self) -> None:
        """Keep the reservation of a call that was not answered and may cost the most all the same."""
        self.in_flight -= 1
