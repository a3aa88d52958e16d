"""A whole training, small: the bundle is the product's, the run can be repeated, resumed and spread over workers."""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace as with_
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import optuna
import pytest

from oracle_batch.brain.decide import replay
from oracle_batch.brain.twin import FLAT
from oracle_batch.bundle.check import check_bundle
from oracle_batch.bundle.compiled import load_model
from oracle_batch.errors import OracleBatchError, StateError, UsageError
from oracle_batch.training import desk, plots, search
from oracle_batch.training.checkpoint import identity_of
from oracle_batch.training.costs import CostOptions, training_costs
from oracle_batch.training.data import History
from oracle_batch.training.desk import Order, histories_in, train_all, train_one
from oracle_batch.training.fleet import Fleet, fleet
from oracle_batch.training.parameters import (
    V1,
    EnvParameters,
    HmmParameters,
    PpoParameters,
    SelectionParameters,
    TrainingParameters,
    checked,
)
from oracle_batch.training.prepare import prepare
from oracle_batch.training.report import verdict
from oracle_batch.training.score import Result, RoundTurn, Score
from oracle_batch.training.silent import silent
from oracle_batch.training.trials import Trial, TrialLog
from tests.brain.reference import Reference, frame, run
from tests.training.build import bars
from tests.training.test_data import write

NOW = "2026-08-01T00:00:00Z"
PARAMETERS = TrainingParameters(
    seed=4,
    hmm=HmmParameters(n_states=3, iterations=10, starts=1),
    env=EnvParameters(episode_bars=200),
    ppo=PpoParameters(
        total_steps=3000, n_steps=512, n_envs=32, batch_size=128, n_epochs=4, net=(16,), learning_rate=3e-3
    ),
    selection=SelectionParameters(every_rollouts=2),
)
HISTORY = History("EURUSD", "M15", bars(2700), "somewhere/EURUSD_M15.parquet")


def order(out: Path, **changes: Any) -> Order:
    plain = Order(out, PARAMETERS, CostOptions(), 3, 0, 1024, False, NOW)
    return with_(plain, **changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training of three seeds."""
    out = tmp_path_factory.mktemp("models")
    assert train_one(HISTORY, order(out), silent, Fleet()) is not None
    return out


def metadata(out: Path) -> dict[str, Any]:
    with zipfile.ZipFile(out / "EURUSD_M15.zip") as archive:
        return json.loads(archive.comment)


def arrays(out: Path) -> dict[str, bytes]:
    """Every number of a bundle: the runtime arrays and the regime model."""
    with zipfile.ZipFile(out / "EURUSD_M15.zip") as archive:
        runtime = np.load(archive.open("EURUSD_M15_runtime.npz"))
        return {name: runtime[name].tobytes() for name in runtime.files} | {"hmm": archive.read("EURUSD_M15_hmm.pkl")}


def test_the_product_takes_the_bundle(made: Path) -> None:
    report = check_bundle(made / "EURUSD_M15.zip")
    assert report.refused == []
    assert report.format_version == "2.1"
    assert report.decoding == "filter"
    assert [member.name for member in report.members] == [
        "EURUSD_M15_hmm.pkl",
        "EURUSD_M15_ppo.zip",
        "EURUSD_M15_runtime.npz",
    ]


def test_the_metadata_tell_all_that_the_design_asks_for(made: Path) -> None:
    told = metadata(made)
    with zipfile.ZipFile(made / "EURUSD_M15.zip") as archive:
        hashes = {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}
    assert told["sha256"] == hashes
    assert told["feature_set"] == "v1"
    assert told["observation_pnl"] == "previous"
    assert told["generated_at"] == NOW
    info, time = told["data_info"], HISTORY.bars.time
    assert info["source"] == "EURUSD_M15.parquet"
    assert (info["total_bars"], info["train_bars"], info["validation_bars"], info["test_bars"]) == (
        2700,
        1890,
        405,
        405,
    )
    assert info["train_end"] == time[1889] < info["validation_start"] == time[1890]
    assert info["validation_end"] < info["test_start"] == time[2295]
    assert info["test_end"] == time[-1]
    assert [one["state"] for one in told["hmm_state_analysis"]] == [0, 1, 2]
    for part in ("train", "validation", "test"):
        assert sum(one["occupancy"][part] for one in told["hmm_state_analysis"]) == pytest.approx(1.0)
    assert told["backtest_oos"]["bars"] == 405 - 350
    assert told["backtest_oos"]["seeds"]["count"] == 3
    assert told["selection"]["trials"] == 3
    assert told["rl_config"]["reward_unit"] > 0
    assert told["training_config"]["total_timesteps"] == 3000


def test_replaying_the_test_part_alone_gives_the_score_of_the_bundle(made: Path) -> None:
    model, told = load_model(made / "EURUSD_M15.zip", None), metadata(made)["backtest_oos"]
    part = HISTORY.bars[2295:]
    lived = replay(model, part, FLAT, len(part) - 349)
    equity = [twin.realized_pnl + twin.floating_pnl for twin in lived.twins]
    assert equity[-1] - equity[0] == pytest.approx(told["net_profit"], abs=1e-9)
    assert told["from"] == part.time[350]


@pytest.mark.usefixtures("no_page")
def test_the_libraries_of_a_2_0_reader_come_to_the_same_actions(made: Path, tmp_path: Path) -> None:
    quick = order(
        tmp_path,
        seeds=1,
        parameters=msgspec.structs.replace(PARAMETERS, hmm=HmmParameters(3, decoding="single", iterations=10)),
    )
    train_one(HISTORY, quick, silent, Fleet())
    seen = set[int]()
    for folder in (made, tmp_path):
        model = load_model(folder / "EURUSD_M15.zip", None)
        part = HISTORY.bars[-374:]
        ours = replay(model, part, FLAT, 25)
        theirs = run(Reference.load(folder / "EURUSD_M15.zip"), part)
        assert ours.actions == theirs["action"]
        assert ours.hmm_states == theirs["hmm_state"]
        assert len(set(ours.hmm_states)) > 1
        seen.update(ours.actions)
    assert len(seen) > 1
    assert len(frame(part)) == 374


@pytest.mark.usefixtures("no_page")
def test_the_same_seed_gives_the_same_arrays_and_another_does_not(made: Path, tmp_path: Path) -> None:
    train_one(HISTORY, order(tmp_path / "same"), silent, Fleet())
    assert arrays(tmp_path / "same") == arrays(made)
    other = order(tmp_path / "other", parameters=msgspec.structs.replace(PARAMETERS, seed=9), seeds=1)
    train_one(HISTORY, other, silent, Fleet())
    assert arrays(tmp_path / "other") != arrays(made)


def test_the_median_seed_is_exported_never_the_best(made: Path) -> None:
    trials = TrialLog(made, "EURUSD_M15").read()
    assert [one.seed for one in trials] == [4, 5, 6]
    ranked = sorted(trials, key=lambda one: (one.validation.score, -one.seed))
    assert metadata(made)["selection"]["seed"] == ranked[1].seed
    assert len(trials[0].daily) > 1
    assert trials[0].parameters["ppo"]["n_steps"] == 512
    assert "gamma" not in trials[0].parameters["ppo"]


@pytest.mark.usefixtures("no_page")
def test_the_test_part_changes_neither_model_nor_selection(made: Path, tmp_path: Path) -> None:
    """Other bars after the validation part: the same arrays. So nothing of the test part leaks into training."""
    known, unseen = HISTORY.bars[:2295], HISTORY.bars[2295:]
    moved = with_(unseen, **{name: getattr(unseen, name) * 1.07 for name in ("open", "high", "low", "close")})
    from oracle_batch.bars import join

    other = with_(HISTORY, bars=join(known, moved))
    train_one(other, order(tmp_path), silent, Fleet())
    assert arrays(tmp_path) == arrays(made)
    assert metadata(tmp_path)["backtest_oos"] != metadata(made)["backtest_oos"]


@pytest.mark.usefixtures("no_page")
def test_the_validation_part_does_not_touch_the_regime_model(made: Path, tmp_path: Path) -> None:
    from oracle_batch.bars import join

    known, later = HISTORY.bars[:1890], HISTORY.bars[1890:]
    moved = with_(later, **{name: getattr(later, name) * 1.07 for name in ("open", "high", "low", "close")})
    train_one(with_(HISTORY, bars=join(known, moved)), order(tmp_path, seeds=1), silent, Fleet())
    assert arrays(tmp_path)["hmm"] == arrays(made)["hmm"]


def test_the_report_is_one_page_with_its_plots(made: Path) -> None:
    page = (made / "EURUSD_M15.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 5
    for words in ("equity and drawdown", "price by regime", "trades by regime and by UTC hour", "bars in each regime"):
        assert words in page
    assert "http://" not in page
    assert "https://" not in page
    assert "no evidence of an edge" in page or "more than luck" in page


class Interrupt:
    """A progress bar that is interrupted by Ctrl-C after so many steps."""

    def __init__(self, after: int) -> None:
        self.left = after

    @contextmanager
    def __call__(self, title: str, total: int) -> Iterator[Interrupt]:
        yield self

    def advance(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [1, 8, 13])
@pytest.mark.usefixtures("no_page")
def test_an_interrupted_training_is_resumed_to_the_same_bundle(after: int, made: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_one(HISTORY, order(tmp_path), Interrupt(after), Fleet())
    assert not (tmp_path / "EURUSD_M15.zip").exists()
    assert list((tmp_path / ".training" / "EURUSD_M15").glob("seed-*.npz"))
    train_one(HISTORY, order(tmp_path, resume=True), silent, Fleet())
    assert arrays(tmp_path) == arrays(made)
    assert metadata(tmp_path)["selection"] == metadata(made)["selection"]
    assert not (tmp_path / ".training").exists()


def test_a_finished_training_is_not_done_again_on_resume(made: Path) -> None:
    before = (made / "EURUSD_M15.zip").stat().st_mtime_ns
    assert train_one(HISTORY, order(made, resume=True), silent, Fleet()) is None
    assert (made / "EURUSD_M15.zip").stat().st_mtime_ns == before


@pytest.mark.usefixtures("no_page")
def test_a_checkpoint_of_another_training_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_one(HISTORY, order(tmp_path), Interrupt(4), Fleet())
    other = with_(HISTORY, bars=HISTORY.bars[:-1])
    with pytest.raises(StateError, match="other bars, costs, parameters or seed") as refused:
        train_one(other, order(tmp_path, resume=True), silent, Fleet())
    assert refused.value.fix == "give the same again, or train without --resume"
    path = tmp_path / ".training" / "EURUSD_M15" / "seed-4.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StateError, match="is damaged"):
        train_one(HISTORY, order(tmp_path, resume=True), silent, Fleet())


@pytest.mark.usefixtures("no_page")
def test_patience_ends_a_training_early(tmp_path: Path) -> None:
    hopeless = msgspec.structs.replace(
        PARAMETERS,
        selection=SelectionParameters(every_rollouts=1, patience=1),
        ppo=msgspec.structs.replace(PARAMETERS.ppo, total_steps=512 * 60),
    )
    trained = train_one(HISTORY, order(tmp_path, parameters=hopeless, seeds=1), silent, Fleet())
    assert trained is not None
    config = metadata(tmp_path)["training_config"]
    assert config["selected_timesteps"] < config["trained_timesteps"] < 512 * 60


@pytest.mark.usefixtures("no_page")
def test_workers_train_the_same_models_as_this_process(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    folder = tmp_path / "bars"
    folder.mkdir()
    write(folder / "EURUSD_M15.parquet", HISTORY.bars)
    write(folder / "GBPUSD_M15.parquet", bars(300))
    (folder / "notes.txt").write_text("no bars")
    named = histories_in(folder, "M15")
    assert [symbol for symbol, _, _ in named] == ["EURUSD", "GBPUSD"]
    with fleet(None, 2) as crew:
        found = train_all(named, order(tmp_path / "all"), silent, crew)
        train_one(HISTORY, order(tmp_path / "seeds"), silent, crew)  # here a seed is a task, above a model
    assert isinstance(found["GBPUSD_M15"], OracleBatchError)
    assert "too few to train on" in str(found["GBPUSD_M15"])
    assert arrays(tmp_path / "all") == arrays(tmp_path / "seeds") == arrays(made)
    here = train_all(named, order(tmp_path / "all", resume=True), silent, Fleet())
    assert here["EURUSD_M15"] is None, "finished before"


@pytest.mark.usefixtures("no_page")
def test_a_search_is_judged_on_validation_and_leaves_a_record(tmp_path: Path) -> None:
    found = train_one(HISTORY, order(tmp_path, trials=3, seeds=1), silent, Fleet())
    assert found is not None
    trials = TrialLog(tmp_path, "EURUSD_M15").read()
    assert [one.kind for one in trials] == ["trial", "trial", "trial", "seed"]
    best = max(trials[:3], key=lambda one: one.validation.score)
    told = metadata(tmp_path)
    assert told["selection"]["trials"] == 4
    assert told["rl_config"]["learning_rate"] == best.parameters["ppo"]["learning_rate"]
    assert told["rl_config"]["total_steps"] == 3000
    again = train_one(HISTORY, order(tmp_path, trials=3, seeds=1, resume=True), silent, Fleet())
    assert again is not None
    assert again.told["selection"]["trials"] == 5, "earlier trials count"
    kinds = [one.kind for one in TrialLog(tmp_path, "EURUSD_M15").read()]
    assert kinds == ["trial", "trial", "trial", "seed", "seed"], "no trial is made twice"


def tried(task: search.TrialTask) -> Trial:
    """A trial that takes no time; what it is worth is its learning rate."""
    rate = task.parameters.ppo.learning_rate
    score = Score(1, rate, 0.0, 0.0, 0.0, None, None, 0, None, None, None, 0.0, 0.0, 0.0, 1)
    costs = training_costs("EURUSD", task.history.bars[:1890], task.costs, task.parameters.env.lot_sizes)
    same = identity_of(task.parameters, costs, task.history.sha256, task.parameters.seed)
    return Trial(NOW, "EURUSD_M15", "trial", 4, task.history.sha256, {}, 1, score, [], same)


def test_an_interrupted_search_keeps_its_trials_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = search.Search(HISTORY, PARAMETERS, CostOptions(), 6, 1024, NOW)
    made: list[float] = []
    record: list[Trial] = []

    def run(task: search.TrialTask) -> Trial:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(task.parameters.ppo.entropy)
        return tried(task)

    monkeypatch.setattr(search, "run_trial", tried)
    whole, _ = search.search(wanted, silent, Fleet())
    monkeypatch.setattr(search, "run_trial", run)
    with pytest.raises(KeyboardInterrupt):
        search.search(wanted, silent, Fleet(), record=record.extend)
    assert len(record) == 3
    assert "3 new trials are on record, --resume goes on from there" in caplog.text
    made.append(0.0)
    found, fresh = search.search(wanted, silent, Fleet(), known=record)
    assert (found, len(fresh)) == (whole, 3)


def test_a_search_leaves_alone_what_was_set_and_has_the_default_in_its_reach() -> None:
    given = msgspec.structs.replace(PARAMETERS, ppo=msgspec.structs.replace(PARAMETERS.ppo, gamma=0.9))
    wanted = search.Search(HISTORY, given, CostOptions(), 1, 1024, NOW)
    usual = TrainingParameters()
    free = search.Search(HISTORY, usual, CostOptions(), 1, 1024, NOW)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(5):
        drawn = search.draw(study.ask(), wanted)
        assert (drawn.ppo.gamma, drawn.ppo.net, drawn.hmm) == (0.9, (16,), given.hmm)
        assert drawn.ppo.entropy != given.ppo.entropy
    asked = study.ask()
    assert search.draw(asked, free).ppo.total_steps == 1024
    reach = asked.distributions
    assert set(reach) == {"n_states", "learning_rate", "entropy", "gamma", "net"}
    assert all(reach[name]._contains(getattr(usual.ppo, name)) for name in ("learning_rate", "entropy"))


def test_what_goes_wrong_with_one_model_is_kept_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("AUDUSD", "EURUSD"):
        write(folder / f"{name}_M15.parquet", bars(2700))
    (folder / "EURUSD_M15.csv").write_text("the Parquet file is taken")
    named = histories_in(folder, None)
    assert [path.name for _, _, path in named] == ["AUDUSD_M15.parquet", "EURUSD_M15.parquet"]
    whole = {"AUDUSD": ZeroDivisionError("division by zero"), "EURUSD": "made"}

    def train_one(history: History, *_: object) -> Any:
        if isinstance(found := whole[history.symbol], Exception):
            raise found
        return found

    monkeypatch.setattr(desk, "train_one", train_one)
    found = train_all(named, order(tmp_path / "out"), silent, Fleet())
    assert str(found["AUDUSD_M15"]).startswith("AUDUSD_M15: unexpected ZeroDivisionError")
    assert found["EURUSD_M15"] == "made"


def test_a_bundle_that_cannot_be_written_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("AUDUSD", "EURUSD"):
        write(folder / f"{name}_M15.parquet", bars(2700))
    written: list[str] = []

    def write_one(trained: str, _: Path) -> None:
        if trained == "AUDUSD":
            raise StateError("cannot write: No space left on device")
        written.append(trained)

    class Crew(Fleet):
        is_cluster = True

        def fan_out(self, _: Any, tasks: Any, __: Any, ___: Any, done: Any = None) -> Any:
            for name, task in tasks.items():
                done(name, task.history.symbol)
            return {name: task.history.symbol for name, task in tasks.items()}

    monkeypatch.setattr(desk, "write", write_one)
    found = train_all(histories_in(folder, None), order(tmp_path / "out"), silent, Crew())
    assert "No space left on device" in str(found["AUDUSD_M15"])
    assert (found["EURUSD_M15"], written) == ("EURUSD", ["EURUSD"])


def test_other_periods_of_the_features_reach_the_bundle(tmp_path: Path) -> None:
    chosen = with_(V1, ema_period=50, hmm_range_period=30)
    parameters = msgspec.structs.replace(PARAMETERS, features=chosen)
    prepared = prepare(HISTORY, parameters, CostOptions())
    assert prepared.ground.model.features == chosen
    costs = prepared.costs
    assert identity_of(parameters, costs, "x", 1) != identity_of(PARAMETERS, costs, "x", 1)
    with pytest.raises(UsageError, match=r"features\.roc_period: is 350"):
        checked(msgspec.structs.replace(PARAMETERS, features=with_(V1, roc_period=350)))


def test_the_verdict_counts_the_seeds() -> None:
    def said(count: int, low: float) -> str:
        spread = {name: {"net_profit": low} for name in ("lowest", "median", "highest")}
        return verdict({"backtest_oos": {"seeds": {"count": count, **spread}}})

    assert said(1, 3.0) == "Out of sample the only seed made 3.00: no evidence of an edge, 5 seeds are the least."
    assert said(4, 3.0).endswith("the seeds 3.00 to 3.00: no evidence of an edge, 5 seeds are the least.")
    assert said(5, -1.0).endswith("the seeds -1.00 to -1.00: no evidence of an edge.")
    assert "every seed is above zero" in said(5, 3.0)


@pytest.mark.parametrize("states", [2, 8, 20])
def test_the_figures_have_room_for_any_number_of_regimes(states: int) -> None:
    time, names = np.arange(400) * 900, [f"momentum rank {one} of {states}" for one in range(states)]
    ends = np.arange(400.0)
    turns = [RoundTurn(int(at), int(at) + 900, 1, 0.1, int(at) // 900 % states, 1.0, 0.1) for at in time[::9]]
    score = Score(1, 0.0, 0.0, 0.0, 0.0, None, None, 0, None, None, None, 0.0, 0.0, 0.0, 1)
    lived = Result(time, ends, np.arange(401.0), time, np.arange(400) % states, turns, ends, score)
    told = [{"name": name, "occupancy": dict.fromkeys(("train", "validation", "test"), 0.1)} for name in names]
    figures = (
        plots.price_by_regime(lived, names),
        plots.trades_by_regime_and_hour(lived, names),
        plots.occupancy(told),
    )
    for figure in figures:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure.canvas.draw()
        for axes in figure.axes:
            assert axes.get_position().width > 0.7
            boxes = [one.get_window_extent() for one in axes.get_xticklabels() if one.get_text()]
            assert not any(left.x1 > right.x0 + 1 for left, right in pairwise(sorted(boxes, key=lambda box: box.x0)))
