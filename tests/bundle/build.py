"""Writes valid model bundles (format 2.0 or 2.1) with nothing but NumPy, for tests of every part.

``make_bundle(folder, symbol="EURUSD", timeframe="M15", seed=3)`` is all that most tests need. A test that wants a
broken bundle takes ``parts(...)``, spoils what it likes and calls ``.write(path)``.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import pickle
import zipfile
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from oracle_batch.types import ACTIONS

ZIP_TIME = (2026, 2, 3, 10, 30, 0)
COVARIANCE_TYPES = ("full", "diag", "spherical", "tied")


@dataclass(frozen=True)
class Global:
    """A name that the stream imports, e.g. ``Global("os", "system")``; writing it imports nothing here."""

    module: str
    name: str


@dataclass(frozen=True)
class Instance:
    """An object of a class that need not exist here: ``cls.__new__(cls)`` and its ``__dict__``."""

    cls: Global
    state: Any


@dataclass(frozen=True)
class Call:
    """A REDUCE: the stream asks its reader to call ``function(*args)``."""

    function: Global
    args: tuple[Any, ...]


@dataclass(frozen=True)
class Persistent:
    """A persistent id, as torch writes for each storage."""

    pid: Any


class StubPickler(pickle._Pickler):
    """A pickler that can name classes and functions which are not installed."""

    dispatch = dict(pickle._Pickler.dispatch)

    def _save_global(self, obj: Global) -> None:
        if self.proto >= 4:
            self.save(obj.module)
            self.save(obj.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())

    def _save_instance(self, obj: Instance) -> None:
        self.save(obj.cls)
        self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
        self.save(obj.state)
        self.write(pickle.BUILD)

    def _save_call(self, obj: Call) -> None:
        self.save(obj.function)
        self.save(obj.args)
        self.write(pickle.REDUCE)

    def _save_persistent(self, obj: Persistent) -> None:
        self.save(obj.pid)
        self.write(pickle.BINPERSID)

    dispatch[Global] = _save_global
    dispatch[Instance] = _save_instance
    dispatch[Call] = _save_call
    dispatch[Persistent] = _save_persistent


def dumps(value: Any, protocol: int = 4) -> bytes:
    """Pickle of a value that may hold ``Global``, ``Instance``, ``Call`` and ``Persistent``."""
    out = io.BytesIO()
    StubPickler(out, protocol).dump(value)
    return out.getvalue()


GAUSSIAN_HMM = Global("hmmlearn.hmm", "GaussianHMM")
CONVERGENCE_MONITOR = Global("hmmlearn.base", "ConvergenceMonitor")


def zip_bytes(members: Mapping[str, bytes], *, comment: bytes = b"", compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP in memory, the same bytes each time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, ZIP_TIME)
            info.compress_type = compression
            archive.writestr(info, data)
        archive.comment = comment
    return out.getvalue()


def torch_file(state: Mapping[str, np.ndarray], *, prefix: str = "archive") -> bytes:
    """What ``torch.save(state_dict)`` writes: a stored ZIP of ``data.pkl`` and one raw storage per tensor."""
    tensors: OrderedDict[str, Any] = OrderedDict()
    members: dict[str, bytes] = {}
    for key, (name, array) in enumerate(state.items()):
        values = np.ascontiguousarray(array, dtype="<f4")
        strides = tuple(step // 4 for step in values.strides)
        storage = Persistent(("storage", Global("torch", "FloatStorage"), str(key), "cpu", values.size))
        arguments = (storage, 0, values.shape, strides, False, OrderedDict())
        tensors[name] = Call(Global("torch._utils", "_rebuild_tensor_v2"), arguments)
        members[f"{prefix}/data/{key}"] = values.tobytes()
    tensors._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    head = {
        f"{prefix}/data.pkl": dumps(tensors, 2),
        f"{prefix}/.format_version": b"1",
        f"{prefix}/.storage_alignment": b"64",
        f"{prefix}/byteorder": b"little",
    }
    return zip_bytes({**head, **members, f"{prefix}/version": b"3\n"}, compression=zipfile.ZIP_STORED)


def covariances(covariance_type: str, n_states: int, rng: np.random.Generator) -> np.ndarray:
    """Random covariances in the shape that hmmlearn 0.3 stores as ``_covars_``."""
    if covariance_type in ("full", "tied"):
        spread = rng.normal(0.0, 0.25, (n_states, 3, 3))
        full = spread @ spread.transpose(0, 2, 1) + 0.05 * np.eye(3)
        full = (full + full.transpose(0, 2, 1)) / 2
        return full if covariance_type == "full" else full[0]
    if covariance_type == "diag":
        return rng.uniform(0.05, 0.3, (n_states, 3))
    return np.repeat(rng.uniform(0.05, 0.3, (n_states, 1)), 3, axis=1)


def policy_state(widths: Sequence[int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """An SB3 ``ActorCriticPolicy`` state dict for layer widths such as ``(14, 64, 64, 7)``: actor and critic."""

    def layer(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
        weight = rng.normal(0.0, 1.6 / np.sqrt(inputs), (outputs, inputs)).astype(np.float32)
        return weight, rng.normal(0.0, 0.2, outputs).astype(np.float32)

    state: dict[str, np.ndarray] = {}
    for net in ("policy_net", "value_net"):
        for index, (inputs, outputs) in enumerate(pairwise(widths[:-1])):
            weight, bias = layer(inputs, outputs)
            state[f"mlp_extractor.{net}.{2 * index}.weight"] = weight
            state[f"mlp_extractor.{net}.{2 * index}.bias"] = bias
    for head, outputs in (("action_net", widths[-1]), ("value_net", 1)):
        state[f"{head}.weight"], state[f"{head}.bias"] = layer(widths[-2], outputs)
    return state


def _text_of(kind: str, **fields: Any) -> dict[str, Any]:
    """One entry of SB3's ``data`` that JSON cannot hold; its pickle would raise if anybody loaded it."""
    trap = base64.b64encode(dumps(Call(Global("builtins", "exit"), (3,)))).decode()
    return {":type:": f"<class '{kind}'>", ":serialized:": trap, **fields}


def sb3_data(hidden: Sequence[int], activation: str, inputs: int) -> dict[str, Any]:
    """The JSON member ``data`` of an SB3 save, the fields that describe the net."""
    policy_kwargs: dict[str, Any] = {}
    if activation != "tanh" or tuple(hidden) != (64, 64):
        names = {"tanh": "Tanh", "relu": "ReLU"}
        policy_kwargs = _text_of(
            "dict",
            net_arch={"pi": list(hidden), "vf": list(hidden)},
            activation_fn=f"<class 'torch.nn.modules.activation.{names.get(activation, activation)}'>",
        )
    return {
        "policy_class": _text_of(
            "abc.ABCMeta",
            __module__="stable_baselines3.common.policies",
            __init__="<function ActorCriticPolicy.__init__ at 0x7f32bc5a8ea0>",
            _abc_impl="<_abc._abc_data object at 0x7f32bc5bd9c0>",
        ),
        "verbose": 0,
        "policy_kwargs": policy_kwargs,
        "num_timesteps": 4096,
        "use_sde": False,
        "sde_sample_freq": -1,
        "observation_space": _text_of(
            "gymnasium.spaces.box.Box",
            dtype="float32",
            _shape=[inputs],
            low="[" + " ".join(["-inf"] * inputs) + "]",
            high="[" + " ".join(["inf"] * inputs) + "]",
        ),
        "action_space": _text_of(
            "gymnasium.spaces.discrete.Discrete", dtype="int64", n="7", start="0", _shape=[], _np_random="None"
        ),
        "n_envs": 1,
    }


@dataclass
class Parts:
    """Everything that goes into a bundle, open to mischief before ``write``."""

    metadata: dict[str, Any]
    hmm: dict[str, Any]
    policy: dict[str, np.ndarray]
    data: dict[str, Any]
    hmm_class: Global = GAUSSIAN_HMM
    wrap_hmm: bool = False
    runtime: bytes | None = None
    raw: dict[str, bytes | None] = field(default_factory=dict)
    """Members to replace or add by name; None leaves one out."""
    ppo_raw: dict[str, bytes | None] = field(default_factory=dict)
    """The same for members of the inner SB3 save."""
    comment: bytes | None = None

    @property
    def model_id(self) -> str:
        return f"{self.metadata['symbol']['name']}_{self.metadata['symbol']['timeframe']}"

    def hmm_bytes(self) -> bytes:
        model = Instance(self.hmm_class, self.hmm)
        return dumps({"model": model, "n_states": self.hmm["n_components"]} if self.wrap_hmm else model)

    def ppo_bytes(self) -> bytes:
        members: dict[str, bytes | None] = {
            "data": json.dumps(self.data, indent=4).encode(),
            "pytorch_variables.pth": dumps(Call(Global("builtins", "exit"), (4,)), 2),
            "policy.pth": torch_file(self.policy),
            "policy.optimizer.pth": dumps(Call(Global("builtins", "exit"), (5,)), 2),
            "_stable_baselines3_version": b"2.7.1",
            "system_info.txt": b"- Python: 3.11\n",
        }
        members.update(self.ppo_raw)
        kept = {name: data for name, data in members.items() if data is not None}
        return zip_bytes(kept, compression=zipfile.ZIP_STORED)

    def members(self) -> dict[str, bytes]:
        members: dict[str, bytes | None] = {
            f"{self.model_id}_hmm.pkl": self.hmm_bytes(),
            f"{self.model_id}_ppo.zip": self.ppo_bytes(),
        }
        if self.runtime is not None:
            members[f"{self.model_id}_runtime.npz"] = self.runtime
        members.update(self.raw)
        return {name: data for name, data in members.items() if data is not None}

    def to_bytes(self) -> bytes:
        members = self.members()
        metadata = dict(self.metadata)
        if metadata.get("sha256") == "fill":
            metadata["sha256"] = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
        comment = self.comment if self.comment is not None else json.dumps(metadata).encode()
        return zip_bytes(members, comment=comment)

    def write(self, path: Path) -> Path:
        """Write the bundle to a file, or into a folder under its model id; gives the file's path."""
        target = path / f"{self.model_id}.zip" if path.is_dir() else path
        target.write_bytes(self.to_bytes())
        return target


def parts(
    *,
    symbol: str = "EURUSD",
    clean: str | None = None,
    timeframe: str = "M15",
    hidden: Sequence[int] = (64, 64),
    activation: str = "tanh",
    n_states: int = 5,
    covariance_type: str = "full",
    decoding: str | None = None,
    observation_pnl: str | None = None,
    format_version: str = "2.0",
    seed: int = 0,
    wrap_hmm: bool = False,
    costs: Mapping[str, Any] | None = None,
    hmm_config: Mapping[str, Any] | None = None,
    rl_config: Mapping[str, Any] | None = None,
) -> Parts:
    """The parts of a valid bundle. ``costs``, ``hmm_config`` and ``rl_config`` replace single metadata values."""
    rng = np.random.default_rng(seed)
    inputs = 6 + n_states + 3
    digits = int((costs or {}).get("digits", 3 if symbol.endswith("JPY") else 5))
    centre = np.linspace(-0.8, 0.8, n_states)
    transmat = np.full((n_states, n_states), 0.08 / max(n_states - 1, 1))
    np.fill_diagonal(transmat, 0.92 if n_states > 1 else 1.0)
    startprob = rng.uniform(0.5, 1.5, n_states)
    monitor = Instance(
        CONVERGENCE_MONITOR,
        {"tol": 0.01, "n_iter": 60, "verbose": False, "history": deque([-2361.9, 5779.5]), "iter": 2},
    )
    hmm: dict[str, Any] = {
        "n_components": n_states,
        "params": "stmc",
        "init_params": "stmc",
        "algorithm": "viterbi",
        "n_iter": 60,
        "tol": 0.01,
        "verbose": False,
        "implementation": "log",
        "random_state": 11,
        "startprob_prior": 1.0,
        "transmat_prior": 1.0,
        "monitor_": monitor,
        "covariance_type": covariance_type,
        "min_covar": 0.001,
        "means_prior": 0,
        "means_weight": 0,
        "covars_prior": 0.01,
        "covars_weight": 1,
        "n_features": 3,
        "startprob_": startprob / startprob.sum(),
        "transmat_": transmat,
        "means_": np.stack([0.4 * centre, 0.5 * centre, centre], axis=1) + rng.normal(0.0, 0.05, (n_states, 3)),
        "_covars_": covariances(covariance_type, n_states, rng),
    }
    metadata: dict[str, Any] = {
        "format_version": format_version,
        "generated_at": "2026-02-03T10:30:00Z",
        "symbol": {"name": symbol, "clean": clean or symbol, "timeframe": timeframe},
        "training_config": {
            "point": float(f"1e-{digits}"),
            "pip_value": 10.0,
            "spread_points": 7,
            "slippage_points": 2,
            "commission_per_lot": 7.0,
            "digits": digits,
            "initial_balance": 10000,
            "lot_sizes": [0, 0.01, 0.03, 0.05],
            "total_timesteps": 80000,
            **(costs or {}),
        },
        "hmm_config": {
            "n_states": n_states,
            "momentum_period": 12,
            "consistency_period": 12,
            "range_period": 20,
            **(hmm_config or {}),
        },
        "rl_config": {
            "roc_period": 10,
            "atr_period": 14,
            "ema_period": 200,
            "range_period": 20,
            "volume_ma_period": 20,
            **(rl_config or {}),
        },
        "actions": {
            str(action.index): {"name": action.name, "direction": action.direction, "intensity": action.intensity}
            for action in ACTIONS
        },
        "data_info": {"total_bars": 24804, "train_bars": 17362},
    }
    if decoding is not None:
        metadata["hmm_config"]["decoding"] = decoding
    if observation_pnl is not None:
        metadata["observation_pnl"] = observation_pnl
    runtime = None
    if format_version == "2.1":
        metadata["feature_set"] = "v1"
        metadata["sha256"] = "fill"
        buffer = io.BytesIO()
        np.savez(buffer, startprob=hmm["startprob_"])
        runtime = buffer.getvalue()
    return Parts(
        metadata=metadata,
        hmm=hmm,
        policy=policy_state((inputs, *hidden, len(ACTIONS)), rng),
        data=sb3_data(hidden, activation, inputs),
        wrap_hmm=wrap_hmm,
        runtime=runtime,
    )


def make_bundle(path: Path, **options: Any) -> Path:
    """Write a valid bundle; the options are those of ``parts``. A folder gets ``SYMBOL_TF.zip``; gives the path."""
    return parts(**options).write(path)
