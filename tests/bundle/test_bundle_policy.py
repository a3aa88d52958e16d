"""Policies of another type or shape: refused, naming the key."""

from __future__ import annotations

import tracemalloc
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle_batch.bundle.archive import Archive
from oracle_batch.bundle.compiled import load_model
from oracle_batch.errors import BundleError
from tests.bundle.build import Call, Global, Parts, Persistent, dumps, parts, torch_file, zip_bytes

PPO = "EURUSD_M15_ppo.zip"


def refusal(bundle: Parts, folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load_model(bundle.write(folder), None)
    assert PPO in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("log_std", (7,)),
        ("features_extractor.cnn.0.weight", (32, 1)),
        ("mlp_extractor.shared_net.0.weight", (64, 14)),
        ("mlp_extractor.policy_net.1.weight", (64,)),
        ("mlp_extractor.policy_net.4.weight", (64, 64)),
        ("mlp_extractor.policy_net.6.bias", (64,)),
        ("mlp_extractor.policy_net.00.weight", (64, 14)),
        ("lstm_actor.weight_ih_l0", (256, 14)),
        ("mlp_extractor.policy_net.0.running_mean", (64,)),
        ("action_net.0.weight", (7, 64)),
        ("q_net.q_net.0.weight", (64, 14)),
        ("bad\x1bkey", (1,)),
    ],
)
def test_parameters_of_another_net_type_are_named(tmp_path: Path, key: str, shape: tuple[int, ...]) -> None:
    bundle = parts()
    bundle.policy[key] = np.ones(shape, np.float32)
    number = key.split(".")[2] if key.startswith("mlp_extractor.policy_net") else ""
    text = refusal(bundle, tmp_path)
    assert ascii(key)[1:-1] in text or f"mlp_extractor.policy_net.{number}" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    "key",
    ["action_net.weight", "action_net.bias", "mlp_extractor.policy_net.0.weight", "mlp_extractor.policy_net.2.bias"],
)
def test_a_missing_parameter_is_named(tmp_path: Path, key: str) -> None:
    bundle = parts()
    del bundle.policy[key]
    text = refusal(bundle, tmp_path)
    assert key in text
    assert "is missing" in text


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("mlp_extractor.policy_net.0.weight", (64, 13)),
        ("mlp_extractor.policy_net.0.weight", (63, 14)),
        ("mlp_extractor.policy_net.0.bias", (63,)),
        ("mlp_extractor.policy_net.2.weight", (64, 63)),
        ("mlp_extractor.policy_net.2.weight", (4096,)),
        ("action_net.weight", (8, 64)),
        ("action_net.weight", (3, 64)),
        ("action_net.bias", (7, 1)),
        ("action_net.bias", (8,)),
    ],
)
def test_shapes_that_do_not_chain_are_refused(tmp_path: Path, key: str, shape: tuple[int, ...]) -> None:
    bundle = parts()
    bundle.policy[key] = np.zeros(shape, np.float32)
    text = refusal(bundle, tmp_path)
    assert key.rpartition(".")[0] in text or "action_net" in text or "policy_net.2" in text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("key", ["mlp_extractor.policy_net.0.weight", "action_net.weight", "action_net.bias"])
def test_weights_are_finite(tmp_path: Path, key: str, value: float) -> None:
    bundle = parts()
    bundle.policy[key].flat[-1] = value
    assert f"{key}: holds NaN or infinity" in refusal(bundle, tmp_path)


def test_the_critic_is_ignored(tmp_path: Path) -> None:
    bundle = parts()
    bundle.policy["value_net.weight"] = np.full((1, 9), np.nan, np.float32)
    for key in [key for key in bundle.policy if key.startswith("mlp_extractor.value_net")]:
        del bundle.policy[key]
    load_model(bundle.write(tmp_path), None)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("policy_class.__module__", "sb3_contrib.common.recurrent.policies", "policy_class"),
        ("policy_class.__module__", "__main__", "policy_class"),
        ("policy_class.__module__", None, "policy_class"),
        ("policy_class.__init__", "<function ActorCriticCnnPolicy.__init__ at 0x7f>", "ActorCriticCnnPolicy"),
        ("policy_class.__init__", "<function MultiInputActorCriticPolicy.__init__ at 0x7f>", "MultiInput"),
        ("policy_class.__init__", 5, "policy_class"),
        ("policy_class", "MlpPolicy", "policy_class"),
        ("policy_class", None, "policy_class"),
        ("use_sde", True, "use_sde"),
        ("use_sde", 1, "use_sde"),
        ("policy_kwargs", [1], "policy_kwargs"),
        ("policy_kwargs", {"use_sde": True}, "policy_kwargs.use_sde"),
        ("policy_kwargs", {"squash_output": True}, "policy_kwargs.squash_output"),
        ("policy_kwargs", {"activation_fn": "<class 'torch.nn.modules.activation.ELU'>"}, "activation.ELU"),
        ("policy_kwargs", {"activation_fn": "<class 'torch.nn.modules.activation.LeakyReLU'>"}, "activation.LeakyReLU"),
        ("policy_kwargs", {"activation_fn": "<class '__main__.Tanh'>"}, "__main__.Tanh"),
        ("policy_kwargs", {"activation_fn": "Tanh"}, "activation_fn"),
        ("policy_kwargs", {"activation_fn": None}, "activation_fn"),
        ("policy_kwargs", {"activation_fn": {}}, "activation_fn"),
        ("policy_kwargs", {"features_extractor_class": "<class '__main__.Mine'>"}, "features_extractor_class"),
        ("observation_space.:type:", "<class 'gymnasium.spaces.dict.Dict'>", "observation_space"),
        ("observation_space.dtype", "uint8", "observation_space.dtype"),
        ("observation_space._shape", [13], "observation_space._shape"),
        ("observation_space._shape", [1, 14], "observation_space._shape"),
        ("observation_space._shape", None, "observation_space._shape"),
        ("observation_space", None, "observation_space"),
        ("action_space.:type:", "<class 'gymnasium.spaces.box.Box'>", "action_space"),
        ("action_space.n", "5", "action_space.n"),
        ("action_space.start", "1", "action_space.start"),
        ("action_space", None, "action_space"),
    ],
)
def test_what_sb3_says_of_another_net_type_is_refused(tmp_path: Path, field: str, value: Any, named: str) -> None:
    bundle = parts()
    section, _, key = field.partition(".")
    if key:
        bundle.data[section][key] = value
    else:
        bundle.data[section] = value
    text = refusal(bundle, tmp_path)
    assert f"{PPO}: data" in text
    assert named in text


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"net_arch": [64, 64]},
        {":type:": "<class 'dict'>", "activation_fn": "<class 'torch.nn.modules.activation.Tanh'>"},
        {"features_extractor_class": "<class 'stable_baselines3.common.torch_layers.FlattenExtractor'>"},
        {"ortho_init": False, "optimizer_kwargs": {"eps": 1e-5}},
    ],
)
def test_harmless_policy_arguments_mean_tanh(tmp_path: Path, kwargs: dict[str, Any]) -> None:
    bundle = parts()
    bundle.data["policy_kwargs"] = kwargs
    assert load_model(bundle.write(tmp_path), None).policy.activation == "tanh"


def test_data_may_hold_the_constants_that_sb3_writes(tmp_path: Path) -> None:
    bundle = parts()
    bundle.data["target_kl"] = float("inf")
    bundle.data["clip_range_vf"] = float("nan")
    load_model(bundle.write(tmp_path), None)


@pytest.mark.parametrize("data", [b"", b"[1]", b"{", b'{"a": 1, "a": 2}', b"\xff"])
def test_data_that_is_not_json_is_refused(tmp_path: Path, data: bytes) -> None:
    bundle = parts()
    bundle.ppo_raw["data"] = data
    assert f"{PPO}: data" in refusal(bundle, tmp_path)


@pytest.mark.parametrize(
    "members",
    [
        {"archive/code/__torch__.py": b"import os"},
        {"archive/constants.pkl": b""},
        {"other/data.pkl": b"N."},
        {"archive/data/../evil": b""},
        {"archive/data/x": b""},
    ],
)
def test_torch_files_with_more_than_tensors_are_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    bundle = parts()
    base = {"archive/data.pkl": dumps(OrderedDict(), 2), "archive/version": b"3\n"}
    bundle.ppo_raw["policy.pth"] = zip_bytes({**base, **members}, compression=0)
    assert "policy.pth" in refusal(bundle, tmp_path)


@pytest.mark.parametrize("data", [b"", b"PK", dumps({"a": 1}, 2), zip_bytes({"a": b"b"})])
def test_torch_files_of_other_formats_are_refused(tmp_path: Path, data: bytes) -> None:
    bundle = parts()
    bundle.ppo_raw["policy.pth"] = data
    assert "policy.pth" in refusal(bundle, tmp_path)


def tensor(shape: Any, strides: Any, *, offset: Any = 0, count: Any = 448, key: Any = "0", place: Any = "cpu") -> Call:
    storage = Persistent(("storage", Global("torch", "FloatStorage"), key, place, count))
    return Call(Global("torch._utils", "_rebuild_tensor_v2"), (storage, offset, shape, strides, False, OrderedDict()))


def with_action_weight(value: Any) -> Parts:
    bundle = parts(hidden=(64,))
    tensors = OrderedDict()
    members: dict[str, bytes] = {"archive/byteorder": b"little"}
    for key, (name, array) in enumerate(bundle.policy.items(), start=1):
        strides = tuple(step // 4 for step in array.strides)
        tensors[name] = tensor(array.shape, strides, count=array.size, key=str(key))
        members[f"archive/data/{key}"] = array.tobytes()
    tensors["action_net.weight"] = value
    members["archive/data/0"] = np.arange(448, dtype="<f4").tobytes()
    bundle.ppo_raw["policy.pth"] = zip_bytes({"archive/data.pkl": dumps(tensors, 2), **members}, compression=0)
    return bundle


@pytest.mark.parametrize(
    "value",
    [
        tensor((7, 64), (64, 1), offset=1),
        tensor((7, 64), (65, 1)),
        tensor((7, 64), (64, 2)),
        tensor((7, 64), (-64, 1)),
        tensor((7, 64), (64, 1), offset=-1),
        tensor((7, 64), (64,)),
        tensor((7.0, 64), (64, 1)),
        tensor((True, 64), (64, 1)),
        tensor((2**20, 2**20), (0, 0)),
        tensor((2**40,), (1,)),
        tensor((7, 64), (64, 1), count=2**60),
        tensor((7, 64), (64, 1), count=-1),
        tensor((7, 64), (64, 1), count=447),
        tensor((7, 64), (64, 1), count=449),
        tensor((7, 64), (64, 1), key="../../etc/passwd"),
        tensor((7, 64), (64, 1), key="99"),
        tensor((7, 64), (64, 1), key=0),
        tensor((7, 64), (64, 1), place="http://example.org"),
        tensor((1,) * 9, (1,) * 9),
        Call(Global("torch._utils", "_rebuild_tensor_v2"), (1, 2, 3)),
        Persistent(("storage", 1)),
        Persistent("storage"),
        Persistent(("module", Global("torch", "FloatStorage"), "0", "cpu", 448)),
        "text",
        3,
        None,
    ],
)
def test_tensors_outside_their_storage_are_refused(tmp_path: Path, value: Any) -> None:
    assert "policy.pth" in refusal(with_action_weight(value), tmp_path)


def test_views_within_their_storage_are_read(tmp_path: Path) -> None:
    plain = load_model(with_action_weight(tensor((7, 64), (64, 1))).write(tmp_path), None).policy
    turned = load_model(with_action_weight(tensor((7, 64), (1, 7), place="cuda:0")).write(tmp_path), None).policy
    numbers = np.arange(448, dtype=np.float32)
    assert np.array_equal(plain.weights[-1], numbers.reshape(7, 64).T)
    assert np.array_equal(turned.weights[-1], numbers.reshape(64, 7))


def test_big_endian_storages_are_turned(tmp_path: Path) -> None:
    bundle = parts(hidden=())
    swapped = {name: array.byteswap() for name, array in bundle.policy.items()}
    archive = Archive(torch_file(swapped))
    members = {name: archive.read(name, 10**6) for name in archive.names}
    members["archive/byteorder"] = b"big"
    bundle.ppo_raw["policy.pth"] = zip_bytes(members, compression=0)
    weights = load_model(bundle.write(tmp_path), None).policy.weights
    assert np.array_equal(weights[0], bundle.policy["action_net.weight"].T)
    members["archive/byteorder"] = b"middle"
    bundle.ppo_raw["policy.pth"] = zip_bytes(members, compression=0)
    assert "byteorder" in refusal(bundle, tmp_path)


def test_one_storage_shared_by_many_layers_costs_no_memory(tmp_path: Path) -> None:
    """63 layers of 1450 × 1450 over one storage would be half a gigabyte."""
    width, depth = 1450, 60
    tensors = OrderedDict()
    shared = {"count": width * width, "key": "0"}
    for index in range(depth):
        inputs = 14 if index == 0 else width
        tensors[f"mlp_extractor.policy_net.{2 * index}.weight"] = tensor((width, inputs), (inputs, 1), **shared)
        tensors[f"mlp_extractor.policy_net.{2 * index}.bias"] = tensor((width,), (1,), **shared)
    tensors["action_net.weight"] = tensor((7, width), (width, 1), **shared)
    tensors["action_net.bias"] = tensor((7,), (1,), **shared)
    bundle = parts()
    storage = np.random.default_rng(1).normal(size=width * width).astype("<f4").tobytes()
    bundle.ppo_raw["policy.pth"] = zip_bytes(
        {"archive/data.pkl": dumps(tensors, 2), "archive/data/0": storage}, compression=0
    )
    path = bundle.write(tmp_path)
    tracemalloc.start()
    with pytest.raises(BundleError, match=r"weights, more than"):
        load_model(path, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 * 1024 * 1024


def test_too_many_layers_are_refused(tmp_path: Path) -> None:
    assert "hidden layers" in refusal(parts(hidden=(1,) * 64), tmp_path)


@pytest.mark.parametrize("size", [3e38, 1e33])
def test_weights_that_can_overflow_to_no_number_are_refused(tmp_path: Path, size: float) -> None:
    bundle = parts()
    key = "mlp_extractor.policy_net.0.weight"
    bundle.policy[key] = np.full_like(bundle.policy[key], size)
    assert f"{key}: is so large that the net can overflow" in refusal(bundle, tmp_path)


def test_large_but_harmless_weights_are_fine(tmp_path: Path) -> None:
    bundle = parts()
    bundle.policy["action_net.weight"] = np.full_like(bundle.policy["action_net.weight"], 1e30)
    assert load_model(bundle.write(tmp_path), None).policy.shape[-1] == 7
