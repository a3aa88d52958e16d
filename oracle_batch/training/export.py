"""The bundle in format 2.1 (DESIGN §4): a 2.0 reader's two members, the runtime arrays, and all that is to be told."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Final

import msgspec
import numpy as np

from oracle_batch import __version__
from oracle_batch.bundle.metadata import FEATURE_SET
from oracle_batch.bundle.model import FeatureParams, PolicyNet
from oracle_batch.bundle.read import HMM_SUFFIX, POLICY_SUFFIX, RUNTIME_SUFFIX
from oracle_batch.errors import DataError
from oracle_batch.training.fit import FittedPolicy
from oracle_batch.training.prepare import FORMAT, Prepared
from oracle_batch.training.regimes import pickled
from oracle_batch.types import ACTIONS, utc

ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
MAX_COMMENT: Final = 65_535
"""Bytes that a ZIP comment can hold."""
LIBRARIES: Final = ("numpy", "hmmlearn", "torch", "stable-baselines3", "gymnasium")


def bundle_bytes(prepared: Prepared, policy: FittedPolicy, told: Mapping[str, Any], generated_at: str) -> bytes:
    """The whole bundle. ``told`` are further sections of the metadata: what was measured.

    Raises:
        DataError: the metadata do not fit into a ZIP comment.
    """
    name, seed = prepared.model_id, prepared.parameters.seed
    members = {
        name + HMM_SUFFIX: pickled(prepared.regimes, prepared.parameters.hmm, seed),
        name + POLICY_SUFFIX: policy.ppo,
        name + RUNTIME_SUFFIX: runtime_arrays(prepared, policy.actor),
    }
    metadata = {
        **identity(prepared, policy, generated_at),
        "sha256": {member: hashlib.sha256(data).hexdigest() for member, data in members.items()},
        "data_info": data_info(prepared),
        **told,
    }
    comment = json.dumps(_plain(metadata), ensure_ascii=False, separators=(",", ":")).encode()
    if len(comment) > MAX_COMMENT:
        raise DataError(f"are {len(comment)} bytes, more than a ZIP comment holds", field="metadata", fix="fewer seeds")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            info = zipfile.ZipInfo(member, ZIP_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
        archive.comment = comment
    return out.getvalue()


def runtime_arrays(prepared: Prepared, actor: PolicyNet) -> bytes:
    """Every number that a decision needs, for programs that read neither pickles nor torch files."""
    regimes = prepared.regimes
    arrays: dict[str, Any] = {
        "startprob": regimes.startprob,
        "transmat": regimes.transmat,
        "means": regimes.means,
        "covars": regimes.covars,
        "whitening": regimes.model.whitening,
        "log_norm": regimes.model.log_norm,
    }
    for depth, (weight, bias) in enumerate(zip(actor.weights, actor.biases, strict=True)):
        arrays |= {f"policy_weight_{depth}": weight, f"policy_bias_{depth}": bias}
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def identity(prepared: Prepared, policy: FittedPolicy, generated_at: str) -> dict[str, Any]:
    """What the model is and what it was trained with."""
    parameters, model, costs = prepared.parameters, prepared.ground.model, prepared.costs
    hmm, ppo, env = (msgspec.to_builtins(part) for part in (parameters.hmm, parameters.ppo, parameters.env))
    periods = features(model.features)
    return {
        "format_version": FORMAT,
        "generated_at": generated_at,
        "generator": {
            "oracle-batch": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
        "symbol": {"name": model.symbol, "clean": model.broker_symbol, "timeframe": model.timeframe},
        "training_config": {
            **asdict(costs),
            "account_currency": "USD",
            "initial_balance": env["initial_balance"],
            "total_timesteps": ppo["total_steps"],
            "trained_timesteps": policy.evaluations[-1].steps,
            "selected_timesteps": policy.best.steps,
            "stopped_early": policy.stopped_early,
        },
        "hmm_config": {
            **hmm,
            **periods["hmm_config"],
            "fit": {
                "log_likelihood": prepared.regimes.log_likelihood,
                "iterations": prepared.regimes.iterations,
                "converged": prepared.regimes.converged,
            },
        },
        "rl_config": {
            **ppo,
            **periods["rl_config"],
            "seed": policy.seed,
            "episode_bars": env["episode_bars"],
            "risk_aversion": env["risk_aversion"],
            "reward_unit": prepared.ground.reward.unit,
        },
        "observation_pnl": model.observation_pnl,
        "feature_set": FEATURE_SET,
        "actions": {
            str(one.index): {"name": one.name, "direction": one.direction, "intensity": one.intensity}
            for one in ACTIONS
        },
    }


def features(params: FeatureParams) -> dict[str, dict[str, int]]:
    """The periods under the names and in the sections of the metadata."""
    hmm = ("momentum_period", "consistency_period")
    rl = ("roc_period", "atr_period", "ema_period", "volume_ma_period")
    return {
        "hmm_config": {name: getattr(params, name) for name in hmm} | {"range_period": params.hmm_range_period},
        "rl_config": {name: getattr(params, name) for name in rl} | {"range_period": params.rl_range_period},
    }


def data_info(prepared: Prepared) -> dict[str, Any]:
    """Which bars the model is made of, and where its parts begin and end (times of bar opens, Unix seconds UTC)."""
    history = prepared.history
    time = history.bars.time
    info: dict[str, Any] = {
        "source": history.source,
        "sha256": history.sha256,
        "total_bars": len(time),
        "date_start": utc(time[0])[:10],
        "date_end": utc(time[-1])[:10],
        "warmup_bars": prepared.parameters.split.warmup_bars,
    }
    for part in prepared.parts:
        info |= {
            f"{part.name}_bars": len(part),
            f"{part.name}_start": int(time[part.start]),
            f"{part.name}_end": int(time[part.stop - 1]),
        }
    return info


def _plain(value: Any) -> Any:
    """The same document with NumPy numbers as Python's and no NaN."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
