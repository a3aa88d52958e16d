"""Whatever well-formed requests come, in whatever order: each is answered, none surprises the server."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle_batch.openapi.messages import api, model
from oracle_batch.sim.dispatch import ROUTES
from tests.examples import examples
from tests.sim.market import ACCOUNT, START, exchange, new_order, on_account
from tests.sim.serving import run, serving

IDS = st.sampled_from([0, 1, 2, 3, 99, 10_000_000, 10_000_001, 10_000_002, -1, 2**62])
INTEGERS = st.one_of(IDS, st.integers(-(2**31), 2**31 - 1), st.sampled_from([100_000, 200_000, int(START) * 1000]))
NUMBERS = st.one_of(st.sampled_from([0.0, 1.1, 1.13948, 1.2, 150.0, -1.0]), st.floats())
KINDS = sorted(
    (kind for kind in ROUTES if "Auth" not in kind.DESCRIPTOR.name and "Logout" not in kind.DESCRIPTOR.name),
    key=lambda kind: kind.DESCRIPTOR.name,
)
UNSIGNED, INT32 = (4, 13), (5, 13)


def scalar(field: Any) -> st.SearchStrategy[Any]:
    if field.name == "ctidTraderAccountId":
        return st.just(ACCOUNT)
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.message_type is not None:
        return message(getattr(model, field.message_type.name))
    if field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
        return NUMBERS
    if field.cpp_type == field.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type == field.CPPTYPE_STRING:
        return st.text(max_size=120)
    low = 0 if field.type in UNSIGNED else -(2**31)
    return INTEGERS.filter(lambda number: low <= number and (field.type not in INT32 or number < 2**31))


@st.composite
def message(draw: st.DrawFn, kind: type[Any]) -> Any:
    """A message with its required fields and any of the others."""
    made, needed = kind(), kind().FindInitializationErrors()
    for field in kind.DESCRIPTOR.fields:
        if field.name == "payloadType":
            continue
        if isinstance(field.default_value, list):
            getattr(made, field.name).extend(draw(st.lists(scalar(field), max_size=3)))
        elif field.message_type is not None:
            getattr(made, field.name).CopyFrom(draw(scalar(field)))
        elif field.name in needed or draw(st.booleans()):
            setattr(made, field.name, draw(scalar(field)))
    return made


@st.composite
def likely_order(draw: st.DrawFn) -> Any:
    """An order that may well be taken."""
    kind = draw(st.sampled_from(["MARKET", "MARKET_RANGE", "LIMIT", "STOP", "STOP_LIMIT"]))
    prices = st.integers(113_000, 115_000).map(lambda whole: whole / 1e5)
    fields: dict[str, Any] = {
        "MARKET": {},
        "MARKET_RANGE": {"baseSlippagePrice": draw(prices), "slippageInPoints": draw(st.integers(-5, 3000))},
        "LIMIT": {"limitPrice": draw(prices)},
        "STOP": {"stopPrice": draw(prices)},
        "STOP_LIMIT": {"stopPrice": draw(prices), "slippageInPoints": draw(st.integers(-5, 300))},
    }[kind]
    if draw(st.booleans()):
        fields |= {"relativeStopLoss": draw(st.integers(1, 3000)), "trailingStopLoss": draw(st.booleans())}
    if draw(st.booleans()):
        fields |= {"timeInForce": draw(st.integers(1, 5)), "expirationTimestamp": int(START + 3600) * 1000}
    if draw(st.booleans()):
        fields |= {"positionId": 10_000_000}
    side, volume = draw(st.sampled_from(["BUY", "SELL"])), draw(st.integers(1, 30)) * 100_000
    return new_order(kind, side, volume=volume, **fields)


@st.composite
def likely_change(draw: st.DrawFn) -> Any:
    """A change of what such orders leave behind."""
    number = 10_000_000 + draw(st.integers(0, 4))
    price = draw(st.integers(110_000, 118_000)) / 1e5
    kind, fields = draw(
        st.sampled_from(
            [
                (api.ProtoOAClosePositionReq, {"positionId": number, "volume": 100_000}),
                (api.ProtoOACancelOrderReq, {"orderId": number}),
                (api.ProtoOAAmendOrderReq, {"orderId": number, "limitPrice": price, "volume": 200_000}),
                (api.ProtoOAAmendPositionSLTPReq, {"positionId": number, "stopLoss": price}),
                (api.ProtoOAAmendPositionSLTPReq, {"positionId": number, "takeProfit": price}),
            ]
        )
    )
    return on_account(kind, **fields)


requests = st.sampled_from(KINDS).flatmap(message)
trades = st.sampled_from(
    [kind for kind in KINDS if "Order" in kind.DESCRIPTOR.name or "Position" in kind.DESCRIPTOR.name]
)


@settings(max_examples=examples(50, 100), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.one_of(requests, trades.flatmap(message), likely_order(), likely_change()), min_size=1, max_size=20),
    st.sets(st.integers(0, 20)),
    st.booleans(),
)
def test_every_request_is_answered(asked: list[Any], moves: set[int], hedged: bool) -> None:
    async def scenario() -> None:
        async with serving(exchange(hedged=hedged)) as running:
            client = await running.client()
            for index, request in enumerate(asked):
                answer = await client.ask(request)
                assert getattr(answer, "errorCode", "") != "UNKNOWN_ERROR", (request, answer)
                if index in moves:
                    running.server.advance(running.server.exchange.now + 900)
            assert (await client.get(api.ProtoOAVersionReq())).version

    run(scenario)
