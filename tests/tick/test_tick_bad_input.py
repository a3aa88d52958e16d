"""Everything that can be wrong with a bar, a bundle, a state file or a setting: what is said, what goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from oracle_batch.bars import FIELDS, Bars
from oracle_batch.errors import ConfigError, OracleBatchError
from tests.tick.lab import Lab, came_to, outcome, scripted, tree
from tests.tick.test_sync_scenarios import EURUSD, OPENED

GBPUSD = "GBPUSD_M15"


@pytest.fixture
def pair(lab: Lab) -> Lab:
    """A model that will be spoilt, EURUSD, holding a long, and a good one, GBPUSD, that enters on bar 2."""
    lab.add("EURUSD", "M15", "W L1 S1 S1 S1")
    lab.add("GBPUSD", "M15", "W W L1 W")
    lab.tick(0)
    assert came_to(lab.tick(1), EURUSD) == OPENED
    return lab


def stopped(lab: Lab, *words: str, reason: str | None = None) -> None:
    """Bar 2: EURUSD says why it stops and keeps its position, GBPUSD trades, and the run exits 1."""
    report = lab.tick(2)
    one = outcome(report, EURUSD)
    assert (one.decision, one.ack, one.reason) == (None, None, reason)
    for word in words:
        assert word in str(one.error)
    assert came_to(report, GBPUSD) == OPENED
    assert report.exit_code == 1
    assert [label for label, _, _ in lab.positions()] == ["oracle:EURUSD_M15", "oracle:GBPUSD_M15"]


# bars


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("close", float("nan"), "is not finite"),
        ("open", float("inf"), "is not finite"),
        ("low", 0.0, "is not above 0"),
        ("close", -1.1, "is not above 0"),
        ("high", 1.0, "is below open or close"),
        ("low", 1.2, "is above open or close"),
        ("volume", -1.0, "is negative"),
        ("volume", float("nan"), "is not finite"),
    ],
)
def test_a_bar_that_breaks_the_rules_stops_its_model(pair: Lab, field: str, value: float, says: str) -> None:
    pair.change(EURUSD, 2, **{field: value})
    stopped(pair, "EURUSD_M15.parquet", "EURUSD", str(pair.time(EURUSD, 2)), field, says)
    pair.change(EURUSD, 2, open=1.1, high=1.1006, low=1.1, close=1.1004, volume=100.0)
    assert came_to(pair.tick(2, late=9), EURUSD) == ("CLOSE_OPEN", "OK", None)


@pytest.mark.parametrize("shift", [-7, -900])
def test_a_bar_off_its_grid_or_out_of_order_stops_its_model(pair: Lab, shift: int) -> None:
    bars = pair.bars[EURUSD]
    times = bars.time.copy()
    times[bars.time == pair.time(EURUSD, 2)] += shift
    pair.put(EURUSD, Bars(times, *(getattr(bars, field) for field in FIELDS[1:])))
    stopped(pair, "EURUSD_M15.parquet", "time")


def test_a_feed_without_the_symbol_stops_its_model(pair: Lab) -> None:
    (pair.data / "EURUSD_M15.parquet").unlink()
    stopped(pair, "no bars of EURUSD M15", "EURUSD_M15.parquet")


def test_a_feed_file_that_cannot_be_read_stops_its_model(pair: Lab) -> None:
    (pair.data / "EURUSD_M15.parquet").write_bytes(b"PAR1 no more")
    stopped(pair, "EURUSD_M15.parquet")


# bundles


def no_zip(path: Path) -> None:
    path.write_bytes(b"no zip")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def nan_weight(path: Path) -> None:
    broken = scripted("EURUSD")
    broken.policy["action_net.bias"][3] = float("nan")
    broken.write(path)


def without_costs(path: Path) -> None:
    broken = scripted("EURUSD")
    del broken.metadata["training_config"]["pip_value"]
    broken.write(path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_zip, "EURUSD_M15.zip"),
        (truncated, "EURUSD_M15.zip"),
        (nan_weight, "action_net"),
        (without_costs, "training_config.pip_value"),
    ],
)
def test_a_bad_bundle_beside_good_ones_stops_its_model(pair: Lab, spoil: Callable[[Path], None], says: str) -> None:
    path = pair.workspace.bundle_path(EURUSD)
    spoil(path)
    data = path.read_bytes()
    stopped(pair, "EURUSD_M15.zip", says)
    assert path.read_bytes() == data


def test_a_bundle_that_was_exchanged_under_a_live_twin_needs_a_warmup(pair: Lab) -> None:
    twin = pair.workspace.twin_path(EURUSD).read_bytes()
    scripted("EURUSD", seed=7).write(pair.workspace.models)
    stopped(pair, "bundle_sha256", "oracle-batch warmup EURUSD_M15", reason="NEEDS_WARMUP")
    assert pair.workspace.twin_path(EURUSD).read_bytes() == twin


def test_a_workspace_without_a_bundle_is_a_configuration_error(lab: Lab) -> None:
    with pytest.raises(ConfigError, match="no model bundle") as refusal:
        lab.tick(0)
    assert refusal.value.exit_code == 78


# one model's state


def in_json(**changes: object) -> Callable[[bytes], bytes]:
    def spoil(data: bytes) -> bytes:
        document = json.loads(data)
        for key, value in changes.items():
            inner = document["state"] if key in document["state"] else document
            inner[key] = value
        return json.dumps(document).encode()

    return spoil


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: data[: len(data) // 2], "JSON"),
        (lambda data: b"", "is empty"),
        (in_json(schema=99), "newer version"),
        (in_json(direction=5), "state.direction"),
        (in_json(entry_price="x"), "state.entry_price"),
        (in_json(entry_price=float("nan")), "EURUSD_M15.json"),
        (in_json(surprise=1), "surprise"),
        (in_json(model="GBPUSD_M15"), "is the twin of GBPUSD_M15"),
        (in_json(warmed_to=-1), "warmed_to"),
    ],
)
def test_a_damaged_twin_stops_its_model_and_stays_where_it_is(
    pair: Lab, spoil: Callable[[bytes], bytes], says: str
) -> None:
    path = pair.workspace.twin_path(EURUSD)
    path.write_bytes(spoil(path.read_bytes()))
    data = path.read_bytes()
    stopped(pair, str(path), says)
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data[:400] + bytes([data[400] ^ 255]) + data[401:],
    ],
)
def test_a_damaged_window_stops_its_model_and_stays_where_it_is(pair: Lab, spoil: Callable[[bytes], bytes]) -> None:
    path = pair.workspace.bars_path(EURUSD)
    path.write_bytes(spoil(path.read_bytes()))
    data = path.read_bytes()
    stopped(pair, str(path), "warmup EURUSD_M15")
    assert path.read_bytes() == data


def test_a_window_of_another_symbol_stops_its_model(pair: Lab) -> None:
    path = pair.workspace.bars_path(EURUSD)
    path.write_bytes(pair.workspace.bars_path(GBPUSD).read_bytes())
    stopped(pair, str(path), "symbol", "'GBPUSD'")


def test_a_world_writable_twin_stops_its_model_and_names_the_chmod(pair: Lab) -> None:
    path = pair.workspace.twin_path(EURUSD)
    path.chmod(0o666)
    stopped(pair, f"chmod 600 {path}")


@pytest.mark.parametrize(
    ("field", "value"),
    [("last_bar", -5), ("decisions_revised", "many"), ("surprise", 1), ("position", {"position_id": 1})],
)
def test_damaged_books_of_one_model_stop_it_and_are_kept(pair: Lab, field: str, value: object) -> None:
    path = pair.workspace.executor_path("paper")
    document = json.loads(path.read_bytes())
    document["models"][EURUSD][field] = value
    path.write_text(json.dumps(document))
    stopped(pair, str(path), f"models.{EURUSD}")
    after = json.loads(path.read_bytes())
    assert after["models"][EURUSD] == document["models"][EURUSD]
    assert after["models"][GBPUSD]["last_bar"] == pair.time(GBPUSD, 2)
    for bar in (3, 4):
        assert pair.tick(bar).exit_code == 1
        assert json.loads(path.read_bytes())["models"][EURUSD] == document["models"][EURUSD]


def test_damaged_books_survive_an_interrupted_run_of_their_model(pair: Lab) -> None:
    """The journal's tail still names the model; its books must not be made anew over the damaged ones."""
    path = pair.workspace.executor_path("paper")
    before = path.read_bytes()
    pair.tick(2)
    document = json.loads(before)
    document["models"][EURUSD]["last_bar"] = -5
    path.write_text(json.dumps(document))
    report = pair.tick(2, late=9)
    assert f"models.{EURUSD}.last_bar" in str(outcome(report, EURUSD).error)
    assert json.loads(path.read_bytes())["models"][EURUSD] == document["models"][EURUSD]


# state of all


@pytest.mark.parametrize("what", ["executor", "executor_schema", "journal_missing", "paper"])
def test_damage_to_an_account_as_a_whole_sends_nothing(pair: Lab, what: str) -> None:
    paths = {
        "executor": pair.workspace.executor_path("paper"),
        "executor_schema": pair.workspace.executor_path("paper"),
        "journal_missing": pair.workspace.journal_folder("paper") / "2024-01.jsonl",
        "paper": pair.workspace.paper_path("paper"),
    }
    path = paths[what]
    data = path.read_bytes()
    if what == "journal_missing":
        path.unlink()
    elif what == "executor_schema":
        path.write_bytes(data.replace(b'"schema": 2', b'"schema": 99'))
    else:
        path.write_bytes(data[: len(data) // 2])
    before = tree(pair.workspace.home)
    with pytest.raises(OracleBatchError) as refusal:
        pair.tick(2)
    assert refusal.value.exit_code == 65
    assert str(path) in str(refusal.value)
    assert tree(pair.workspace.home) == before


def test_a_line_that_was_changed_after_the_mark_sends_nothing(pair: Lab) -> None:
    """Without books the journal is read from its start."""
    pair.workspace.executor_path("paper").unlink()
    path = pair.workspace.journal_folder("paper") / "2024-01.jsonl"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(OracleBatchError, match="line 1") as refusal:
        pair.tick(2)
    assert refusal.value.exit_code == 65


def test_a_torn_last_journal_line_is_cut_off_and_reported(pair: Lab) -> None:
    path = pair.workspace.journal_folder("paper") / "2024-01.jsonl"
    with path.open("ab") as file:
        file.write(b'{"v":1,"t":170')
    report = pair.tick(2)
    assert report.exit_code == 0
    assert came_to(report, GBPUSD) == OPENED
    assert len(pair.events("journal_torn")) == 1


# settings


def test_a_malformed_entry_stops_its_models_alone(pair: Lab) -> None:
    pair.trade("EURUSD", lot_weak=-1)
    stopped(pair, "executor_symbols.json", "EURUSD.lot_weak")


def test_an_unknown_key_of_an_entry_names_the_key_that_was_meant(pair: Lab) -> None:
    pair.trade("EURUSD", lots_weak=1)
    stopped(pair, "EURUSD.lots_weak", "did you mean EURUSD.lot_weak?")


def test_execution_settings_that_are_no_json_stop_everything_before_anything_is_sent(pair: Lab) -> None:
    pair.workspace.executor_symbols.write_text("{")
    before = tree(pair.workspace.home)
    with pytest.raises(ConfigError) as refusal:
        pair.tick(2)
    assert refusal.value.exit_code == 78
    assert tree(pair.workspace.home) == before


def test_an_unforeseen_error_of_one_model_is_kept_from_the_others(pair: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from oracle_batch import gather

    real = gather.load

    def load(workspace: object, model: object, source: str) -> object:
        if model.model_id == EURUSD:  # type: ignore[attr-defined]
            raise ZeroDivisionError("a bug")
        return real(workspace, model, source)  # type: ignore[arg-type]

    monkeypatch.setattr(gather, "load", load)
    stopped(pair, "unexpected ZeroDivisionError: a bug")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_prices_that_no_twin_can_reckon_with_stop_their_model_before_anything_is_sent(pair: Lab) -> None:
    pair.change(EURUSD, 2, high=1.7e308, close=1.7e308)
    stopped(pair, "new twin of EURUSD_M15", "state.", "is not finite")
    assert pair.twin(EURUSD).state.bar_time == pair.time(EURUSD, 1)
