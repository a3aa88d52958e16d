"""A twin comes back bit for bit, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.brain.twin import TwinState
from oracle_batch.errors import NeedsWarmup, StateError
from oracle_batch.store import twins
from oracle_batch.store.files import replace_atomically
from oracle_batch.store.twins import TwinFile
from oracle_batch.types import ACTIONS

MODEL, SHA = "EURUSD_M15", "ab" * 32
LONG = TwinState(
    direction=1,
    intensity=2,
    entry_price=1.0850900000000001,
    entry_time=1770000300,
    entry_hmm_state=3,
    floating_pnl=-2.7000000000000455,
    realized_pnl=-0.105,
    bar_time=1770001200,
    last_action=2,
    last_hmm_state=4,
)
FLAT = TwinState(bar_time=1770000300, last_hmm_state=0)
TWIN = TwinFile(model=MODEL, bundle_sha256=SHA, state=LONG, history=(FLAT,), warmed_to=1770000300)

money = st.floats(-1e12, 1e12, allow_nan=False)


@st.composite
def states(draw: st.DrawFn, bar_time: int) -> TwinState:
    action = draw(st.sampled_from(ACTIONS))
    if not action.direction:
        return TwinState(realized_pnl=draw(money), bar_time=bar_time, last_hmm_state=draw(st.integers(-1, 20)))
    return TwinState(
        direction=action.direction,
        intensity=action.intensity,
        entry_price=draw(st.floats(1e-9, 1e9, exclude_min=True)),
        entry_time=draw(st.integers(1, bar_time)),
        entry_hmm_state=draw(st.integers(0, 20)),
        floating_pnl=draw(money),
        realized_pnl=draw(money),
        bar_time=bar_time,
        last_action=action.index,
        last_hmm_state=draw(st.integers(0, 20)),
    )


@st.composite
def twin_files(draw: st.DrawFn) -> TwinFile:
    times = sorted(draw(st.sets(st.integers(1, 4_000_000_000), min_size=1, max_size=1 + twins.HISTORY)))
    made = [draw(states(time)) for time in times]
    return TwinFile(
        model=MODEL,
        bundle_sha256=SHA,
        state=made[-1],
        history=tuple(made[:-1]),
        warmed_to=draw(st.integers(0, times[-1])),
    )


def stored(path: Path, document: Any) -> Path:
    replace_atomically(path, document if isinstance(document, bytes) else json.dumps(document).encode())
    return path


def document(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(twins.encode(TWIN))
    for dotted, value in changes.items():
        target: Any = found
        *outer, last = (int(key) if key.isdigit() else key for key in dotted.split("__"))
        for key in outer:
            target = target[key]
        if value is KeyError:
            del target[last]
        else:
            target[last] = value
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("twin")


@given(twin=twin_files())
def test_a_twin_survives_its_file_bit_for_bit(folder: Path, twin: TwinFile) -> None:
    path = stored(folder / "t.json", twins.encode(twin))
    again = twins.load(path, MODEL, SHA)
    assert again is not None
    assert repr(again) == repr(twin), "repr tells -0.0 from 0.0"


def test_a_model_without_a_file_has_no_twin_yet(tmp_path: Path) -> None:
    assert twins.load(tmp_path / "absent.json", MODEL, SHA) is None


def test_a_changed_bundle_needs_a_warmup(tmp_path: Path) -> None:
    path = stored(tmp_path / "t.json", twins.encode(TWIN))
    with pytest.raises(NeedsWarmup) as caught:
        twins.load(path, MODEL, "cd" * 32)
    assert "another bundle" in str(caught.value)
    assert f"oracle-batch warmup {MODEL}" in str(caught.value)


def test_another_models_twin_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "t.json", twins.encode(TWIN))
    with pytest.raises(StateError, match="twin of EURUSD_M15, not of GBPUSD_M15") as caught:
        twins.load(path, "GBPUSD_M15", SHA)
    assert not isinstance(caught.value, NeedsWarmup)
    assert caught.value.field == "model"


@pytest.mark.parametrize(
    ("changes", "field", "why"),
    [
        ({"state__direction": 2}, "state.direction", "none of -1, 0, 1"),
        ({"state__direction": 0}, "state.intensity", "does not go with direction 0"),
        ({"state__intensity": 0}, "state.intensity", "does not go with direction 1"),
        ({"state__intensity": 4}, "state.intensity", "does not go with direction 1"),
        ({"state__last_action": 7}, "state.last_action", "is no action"),
        ({"state__last_action": 5}, "state.last_action", "does not lead to this position"),
        ({"state__entry_price": 0.0}, "state.entry_price", "does not go with direction"),
        ({"state__entry_price": -1.1}, "state.entry_price", "does not go with direction"),
        ({"state__entry_price": "1.1"}, "state.entry_price", "expected `float`, got `str`"),
        ({"state__entry_time": 0}, "state.entry_time", "does not go with bar"),
        ({"state__entry_time": 1770002100}, "state.entry_time", "does not go with bar"),
        ({"state__floating_pnl": None}, "state.floating_pnl", "expected `float`, got `null`"),
        ({"state__bar_time": 1.5}, "state.bar_time", "expected `int`, got `float`"),
        ({"state__bar_time": 1770000300}, "history", "do not increase"),
        ({"state__last_hmm_state": -2}, "state.last_hmm_state", "is no regime"),
        ({"state__direction": KeyError}, "state.direction", "is missing"),
        ({"state__colour": 1}, "state", "unknown field `colour`"),
        ({"history__0__floating_pnl": 5.0}, "history[0].floating_pnl", "of a flat position"),
        ({"history__0__intensity": KeyError}, "history[0].intensity", "is missing"),
        ({"history__0": 3}, "history[0]", "expected `object`, got `int`"),
        ({"history": KeyError}, "history", "is missing"),
        ({"warmed_to": 1770002100}, "warmed_to", "last bar consumed"),
        ({"warmed_to": KeyError}, "warmed_to", "is missing"),
        ({"bundle_sha256": 3}, "bundle_sha256", "expected `str`, got `int`"),
        ({"state": []}, "state", "expected `object`, got `array`"),
    ],
)
def test_an_impossible_value_is_refused_by_field_and_the_file_kept(
    tmp_path: Path, changes: dict[str, Any], field: str, why: str
) -> None:
    path = stored(tmp_path / "t.json", document(**changes))
    before = path.read_bytes()
    with pytest.raises(StateError) as caught:
        twins.load(path, MODEL, SHA)
    assert caught.value.field == field
    assert why in caught.value.message
    assert str(path) in str(caught.value)
    assert "oracle-batch warmup EURUSD_M15" in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("word", [b"NaN", b"Infinity", b"1e999"])
def test_a_number_that_is_none_is_refused(tmp_path: Path, word: bytes) -> None:
    path = stored(tmp_path / "t.json", twins.encode(TWIN).replace(b"-0.105", word))
    with pytest.raises(StateError, match=r"JSON|out of range"):
        twins.load(path, MODEL, SHA)


@pytest.mark.parametrize("field", ["entry_price", "floating_pnl", "realized_pnl"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_never_written(field: str, value: float) -> None:
    values = {name: getattr(LONG, name) for name in LONG.__struct_fields__} | {field: value}
    with pytest.raises(StateError, match=f"state.{field}"):
        twins.encode(TwinFile(model=MODEL, bundle_sha256=SHA, state=TwinState(**values)))


def test_a_history_that_is_too_long_is_never_written() -> None:
    history = tuple(TwinState(bar_time=number) for number in range(1, twins.HISTORY + 2))
    with pytest.raises(StateError, match="more than 16 states"):
        twins.encode(TwinFile(model=MODEL, bundle_sha256=SHA, state=LONG, history=history))


def test_a_truncated_file_is_refused_at_every_length(tmp_path: Path) -> None:
    whole = twins.encode(TWIN)
    for length in range(len(whole.rstrip())):
        path = stored(tmp_path / "t.json", whole[:length])
        with pytest.raises(StateError, match=r"is empty|not whole JSON"):
            twins.load(path, MODEL, SHA)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_twin_or_a_state_error(folder: Path, data: bytes) -> None:
    path = stored(folder / "fuzz.json", data)
    with pytest.raises(StateError):
        twins.load(path, MODEL, SHA)


@given(at=st.integers(0, 2000), byte=st.integers(0, 255))
def test_one_wrong_byte_gives_a_possible_twin_or_a_state_error(folder: Path, at: int, byte: int) -> None:
    data = bytearray(twins.encode(TWIN))
    data[at % len(data)] = byte
    path = stored(folder / "flip.json", bytes(data))
    try:
        found = twins.load(path, MODEL, SHA)
    except StateError:
        return
    assert found is not None
    twins.check(found, file=path)


def test_deep_nesting_is_a_state_error(tmp_path: Path) -> None:
    path = stored(tmp_path / "t.json", b'{"schema":1,"history":' + b"[" * 100_000)
    with pytest.raises(StateError):
        twins.load(path, MODEL, SHA)


def test_a_newer_schema_is_refused_with_advice(tmp_path: Path) -> None:
    path = stored(tmp_path / "t.json", document() | {"schema": twins.SCHEMA + 1, "new": 1})
    with pytest.raises(StateError, match="written by a newer version") as caught:
        twins.load(path, MODEL, SHA)
    assert caught.value.fix == "update oracle-batch"


@pytest.mark.parametrize("schema", [0, -1])
def test_a_schema_that_never_was_is_refused(tmp_path: Path, schema: int) -> None:
    path = stored(tmp_path / "t.json", document(schema=schema))
    with pytest.raises(StateError, match=f"schema {schema} is not known"):
        twins.load(path, MODEL, SHA)


def test_an_older_schema_is_migrated_step_by_step(tmp_path: Path) -> None:
    old = document(schema=-1, warmed_to=KeyError) | {"id": MODEL}
    del old["model"]
    path = stored(tmp_path / "t.json", old)

    def rename(found: dict[str, Any]) -> dict[str, Any]:
        return {"model": found.pop("id"), **found}

    def add(found: dict[str, Any]) -> dict[str, Any]:
        return {"warmed_to": TWIN.warmed_to, **found}

    assert twins.load(path, MODEL, SHA, migrations={-1: rename, 0: add}) == TWIN


def test_a_migration_that_meets_damage_is_a_state_error(tmp_path: Path) -> None:
    path = stored(tmp_path / "t.json", {"schema": 0})

    def rename(found: dict[str, Any]) -> dict[str, Any]:
        return {"model": found["id"]}

    with pytest.raises(StateError, match="cannot be migrated from schema 0"):
        twins.load(path, MODEL, SHA, migrations={0: rename})
    with pytest.raises(StateError, match="missing required field"):
        twins.load(path, MODEL, SHA, migrations={0: dict})
