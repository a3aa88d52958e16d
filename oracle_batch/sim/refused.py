"""No, in the three shapes that the real server has for it."""

from __future__ import annotations

from typing import Any, Literal

from oracle_batch.openapi.messages import api

Shape = Literal["error", "order_error"]
"""``error`` is an ErrorRes; ``order_error`` an OrderErrorEvent, how a trading server refuses an order request.

The third, an execution event ORDER_REJECTED, needs an order that was accepted before; the exchange makes it.
"""


class Refused(Exception):
    """A request that is not carried out, with the API's error code."""

    def __init__(
        self, code: str, description: str, *, shape: Shape = "error", order_id: int = 0, position_id: int = 0
    ) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description
        self.shape = shape
        self.order_id = order_id
        self.position_id = position_id

    def message(self, account: int | None) -> Any:
        """The refusal as a message; the ids of an order error are 0 where none is known, as the real server has it."""
        if self.shape == "order_error":
            return api.ProtoOAOrderErrorEvent(
                ctidTraderAccountId=account or 0,
                errorCode=self.code,
                orderId=self.order_id,
                positionId=self.position_id,
                description=self.description,
            )
        refusal = api.ProtoOAErrorRes(errorCode=self.code, description=self.description)
        if account is not None:
            refusal.ctidTraderAccountId = account
        return refusal
