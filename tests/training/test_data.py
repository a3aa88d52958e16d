"""Bars that nothing can be learnt from are refused in words that name file, field and fix; so are overlapping parts."""

from __future__ import annotations

from dataclasses import replace as with_
from pathlib import Path

import msgspec
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from oracle_batch.bars import FIELDS, Bars
from oracle_batch.errors import BarError, DataError, UsageError
from oracle_batch.training.costs import CostOptions, describe, training_costs
from oracle_batch.training.data import History, read_history, usable
from oracle_batch.training.parameters import PpoParameters, SplitParameters, TrainingParameters, checked
from oracle_batch.training.splits import Part, refuse_overlap, split
from tests.training.build import bars

LOTS = (0.0, 0.01, 0.03, 0.05)


def write(path: Path, given: Bars) -> Path:
    pyarrow.parquet.write_table(pyarrow.table({name: getattr(given, name) for name in FIELDS}), path)
    return path


def spoilt(field: str, row: int, value: float) -> Bars:
    column = getattr(bars(), field).copy()
    column[row] = value
    return with_(bars(), **{field: column})


def flat(close: np.ndarray) -> Bars:
    return Bars(bars().time, close, close, close, close, bars().volume)


STILL = np.where(np.arange(1500) % 10 == 0, 1.1, 1.1001) + np.repeat(np.arange(15), 100) * 1e-4
STILL[:1400] = np.repeat(np.arange(14), 100) * 1e-4 + 1.1
BAD = {
    "short": (bars(400), "400 bars are too few to train on", "time"),
    "one price": (flat(np.full(1500, 1.25)), "is always 1.25: nothing can be learnt", "close"),
    "few prices": (flat(np.where(np.arange(1500) % 2, 1.25, 1.26)), "is one of 2 prices", "close"),
    "still": (flat(STILL), "does not move on 9", "close"),
    "nan": (spoilt("close", 700, np.nan), "is not finite", "close"),
    "crossed": (spoilt("high", 700, 1.0), "is below open or close", "high"),
    "negative volume": (spoilt("volume", 3, -1.0), "is negative", "volume"),
    "time goes back": (spoilt("time", 9, int(bars().time[7])), "", "time"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bars_are_refused_by_file_field_and_fix(name: str, tmp_path: Path) -> None:
    given, words, field = BAD[name]
    file = write(tmp_path / "EURUSD_M15.parquet", given)
    with pytest.raises(BarError) as refused:
        read_history(file, "EURUSD", "M15")
    assert words in str(refused.value)
    assert refused.value.file == str(file)
    assert refused.value.field == field
    assert refused.value.fix


@pytest.mark.parametrize("timeframe", ["M1", "M5", "M30", "H1", "H4"])
def test_bars_of_another_timeframe_are_named(timeframe: str, tmp_path: Path) -> None:
    file = write(tmp_path / "EURUSD_M15.parquet", bars())
    with pytest.raises(BarError, match="900 s apart, which is M15, not") as refused:
        read_history(file, "EURUSD", timeframe)
    assert refused.value.fix == f"give bars of {timeframe}, or --timeframe M15"


def test_a_single_bar_off_the_grid_is_named_as_such(tmp_path: Path) -> None:
    file = write(tmp_path / "EURUSD_M15.parquet", spoilt("time", 900, int(bars().time[900]) + 60))
    with pytest.raises(BarError, match="is not on the M15 grid"):
        read_history(file, "EURUSD", "M15")


def test_bars_on_no_grid_are_told_of_their_own_timeframe(tmp_path: Path) -> None:
    file = write(tmp_path / "x.parquet", with_(bars(), time=bars().time + 7))
    with pytest.raises(BarError, match="is not on the M15 grid"):
        read_history(file, "EURUSD", "M15")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "EURUSD_M15.csv"
    folder.mkdir()
    with pytest.raises(BarError, match="is a folder"):
        read_history(folder, "EURUSD", "M15")


def test_a_file_named_for_other_bars_is_taken_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(tmp_path / "GBPUSD_M15.parquet", bars())
    assert len(read_history(file, "EURUSD", "M15").bars) == len(bars())
    assert "is named for other bars, and taken for those of EURUSD_M15" in caplog.text


def test_the_first_complaint_of_a_short_history_names_what_the_usual_split_needs() -> None:
    with pytest.raises(BarError) as refused:
        usable(History("EURUSD", "M15", bars(400), "x.csv"))
    needed = int(str(refused.value.fix).split()[-1])
    assert split(bars(needed), SplitParameters())
    with pytest.raises(DataError):
        split(bars(needed - 20), SplitParameters())


def test_good_bars_pass_and_their_hash_is_of_their_values() -> None:
    one = usable(History("EURUSD", "M15", bars(), "/some/where/a.csv"))
    other = History("EURUSD", "M15", with_(bars()), "b.csv")
    assert one.sha256 == other.sha256
    assert one.source == "a.csv"
    assert one.sha256 != History("EURUSD", "M15", bars(1499), "b.csv").sha256


def test_the_parts_follow_each_other_in_time_and_cover_everything() -> None:
    given = bars(4000)
    train, validation, test = parts = split(given, SplitParameters())
    assert [len(part) for part in parts] == [2800, 600, 600]
    assert (train.start, train.stop, validation.stop, test.stop) == (0, validation.start, test.start, 4000)
    assert train.of(given).time[-1] < validation.of(given).time[0]
    assert len(validation.scored(given)) == 250
    assert validation.scored(given).time[0] == given.time[2800 + 350]


def test_a_part_too_short_to_score_is_refused_with_the_length_that_would_do() -> None:
    with pytest.raises(DataError, match="leave 300 for validation, at least 400 are needed") as refused:
        split(bars(2000), SplitParameters(), file="x.csv")
    assert refused.value.field == "split.validation"
    assert refused.value.fix == "give at least 2674 bars"
    assert [len(part) for part in split(bars(2674), SplitParameters())][1:] == [401, 401]


def test_overlapping_parts_are_refused() -> None:
    parts = (Part("train", 0, 700, 350), Part("validation", 690, 900, 350))
    with pytest.raises(DataError, match="before train ends: overlapping splits") as refused:
        refuse_overlap(parts, bars(), file="x.csv")
    assert refused.value.field == "split.validation"


def test_parameters_that_cannot_be_are_refused() -> None:
    def changed(**changes: object) -> TrainingParameters:
        return msgspec.structs.replace(TrainingParameters(), **changes)

    with pytest.raises(UsageError, match="the parts overlap"):
        checked(changed(split=SplitParameters(0.7, 0.2, 0.2)))
    with pytest.raises(UsageError, match="no multiple of n_envs"):
        checked(changed(ppo=PpoParameters(n_envs=100)))
    with pytest.raises(UsageError, match="does not divide n_steps"):
        checked(changed(ppo=PpoParameters(batch_size=500)))
    with pytest.raises(UsageError, match="gamma"):
        checked(changed(ppo=PpoParameters(gamma=1.5)))
    assert checked(TrainingParameters()) == TrainingParameters()


def test_the_defaults_are_the_seeds() -> None:
    ppo, env = TrainingParameters().ppo, TrainingParameters().env
    assert (ppo.n_steps, ppo.batch_size, ppo.learning_rate, ppo.gamma) == (4096, 512, 3e-4, 0.99)
    assert (ppo.total_steps, env.initial_balance, TrainingParameters().hmm.n_states) == (2_000_000, 10_000, 5)
    assert TrainingParameters().hmm.decoding == "filter"


@pytest.mark.parametrize(
    ("symbol", "price", "pip_value", "digits"),
    [
        ("EURUSD", 1.1, 10.0, 5),
        ("USDJPY", 150.0, 1000 / 150.0, 3),
        ("USDCHF", 0.8, 12.5, 5),
        ("EURGBP", 0.85, 13.0, 5),
        ("XAUUSD", 2300.0, 1.0, 2),
        ("NAS100", 18000.0, 0.01, 2),
    ],
)
def test_the_pip_value_follows_the_contract_and_the_rate(
    symbol: str, price: float, pip_value: float, digits: int
) -> None:
    given = Bars(bars().time, *(np.full(len(bars()), price) for _ in range(4)), bars().volume)
    costs = training_costs(symbol, given, CostOptions(), LOTS)
    assert costs.pip_value == pytest.approx(pip_value, rel=1e-5)
    assert costs.digits == digits
    assert costs.lot_sizes == LOTS


def test_what_the_operator_gives_stands_and_the_rest_is_named() -> None:
    options = CostOptions(spread_points=3.0, commission_per_lot=0.0)
    costs = training_costs("EURUSD", bars(), options, LOTS)
    assert (costs.spread_points, costs.commission_per_lot, costs.slippage_points) == (3.0, 0.0, 2.0)
    assert describe(costs, options).endswith("from the shipped table: digits, pip-value, slippage-points")


def test_an_unknown_symbol_needs_its_costs() -> None:
    with pytest.raises(UsageError, match="ZZZ is not in the shipped table") as refused:
        training_costs("ZZZ", bars(), CostOptions(digits=2), LOTS)
    assert refused.value.fix == "give --pip-value, --spread-points"
    whole = CostOptions(digits=2, pip_value=0.5, spread_points=10.0)
    assert training_costs("ZZZ", bars(), whole, LOTS).pip_value == 0.5
    with pytest.raises(UsageError, match="is -1"):
        training_costs("EURUSD", bars(), CostOptions(spread_points=-1.0), LOTS)
