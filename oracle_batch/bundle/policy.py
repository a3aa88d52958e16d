"""The policy in a bundle: the actor of an SB3 save, from the text of ``data`` and the tensors of ``policy.pth``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from oracle_batch.bundle.archive import MEBIBYTE, Archive, refuse_unknown
from oracle_batch.bundle.model import Activation, PolicyNet
from oracle_batch.bundle.problems import Problems, shorten, strict_json
from oracle_batch.bundle.tensors import MAX_STORAGE_BYTES, Tensor, TensorFile
from oracle_batch.errors import BundleError
from oracle_batch.types import ACTIONS

if TYPE_CHECKING:
    from oracle_batch.bundle.model import Float32

MAX_DATA_BYTES: Final = 4 * MEBIBYTE
MAX_POLICY_BYTES: Final = MAX_STORAGE_BYTES
LARGEST_INPUT = 1e6
"""Beyond any observation: everything in one is bounded by 5 but the twin's lots, times ten."""
LARGEST_SUM = 1e37
"""Just below the largest float32."""
MAX_LAYERS: Final = 64

DATA: Final = "data"
POLICY: Final = "policy.pth"
_UNREAD: Final = (
    "pytorch_variables.pth",
    "policy.optimizer.pth",
    "_stable_baselines3_version",
    "system_info.txt",
)
_ACTIVATIONS: Final[dict[str, Activation]] = {
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.activation.ReLU": "relu",
}
_POLICY_MODULE: Final = "stable_baselines3.common.policies"
_POLICY_CLASS: Final = "ActorCriticPolicy"
_FLATTEN: Final = "stable_baselines3.common.torch_layers.FlattenExtractor"
_CLASS_TEXT: Final = re.compile(r"<class '([\w.]+)'>")
_METHOD_TEXT: Final = re.compile(r"<function (\w+)\.__init__ at 0x[0-9a-fA-F]+>")
_ACTOR_KEY: Final = re.compile(r"mlp_extractor\.policy_net\.(0|[1-9][0-9]{0,3})\.(weight|bias)")
_CRITIC_KEY: Final = re.compile(r"(mlp_extractor\.value_net\.[0-9]{1,4}|value_net)\.(weight|bias)")
_RETRAIN: Final = "train an MlpPolicy with Tanh or ReLU"


def read_policy(data: bytes, member: str, n_states: int | None, problems: Problems) -> PolicyNet | None:
    """The actor in an SB3 save; None after noting what is wrong with it.

    ``n_states`` fixes the number of inputs, 6 + n_states + 3; None leaves it open.
    """
    before = len(problems.found)
    net: PolicyNet | None = None
    with problems.collecting(member):
        archive = Archive(data)
        for error in refuse_unknown(archive.names, (DATA, POLICY, *_UNREAD)):
            problems.add(f"{member}: {error.field}", error.message, error.fix)
        inputs = 6 + n_states + 3 if n_states is not None else None
        activation: Activation | None = None
        with problems.collecting(f"{member}: {DATA}"):
            activation = _read_data(strict_json(archive.read(DATA, MAX_DATA_BYTES), constants=True), inputs)
        with problems.collecting(f"{member}: {POLICY}"):
            net = _read_actor(TensorFile(archive.read(POLICY, MAX_POLICY_BYTES)), inputs, activation or "tanh")
    return net if len(problems.found) == before else None


def _read_data(data: dict[str, Any], inputs: int | None) -> Activation:
    """What SB3 says about the policy in words; its pickled fields (``:serialized:``) are never looked at."""
    _check_class(data.get("policy_class"))
    if data.get("use_sde", False) is not False:
        raise BundleError("is on; state-dependent exploration is another net type", field="use_sde", fix=_RETRAIN)
    _check_spaces(data, inputs)
    arguments = data.get("policy_kwargs", {})
    if not isinstance(arguments, dict):
        raise BundleError(f"is {shorten(arguments)}, not an object", field="policy_kwargs")
    for switch in ("use_sde", "squash_output"):
        if arguments.get(switch, False) is not False:
            raise BundleError("is on: another net type", field=f"policy_kwargs.{switch}", fix=_RETRAIN)
    extractor = arguments.get("features_extractor_class")
    if extractor is not None and _class_in(extractor) != _FLATTEN:
        raise BundleError(
            f"is {shorten(extractor)}: another net type", field="policy_kwargs.features_extractor_class", fix=_RETRAIN
        )
    if "activation_fn" not in arguments:
        return "tanh"
    activation = _ACTIVATIONS.get(_class_in(arguments["activation_fn"]))
    if activation is None:
        raise BundleError(
            f"is {shorten(arguments['activation_fn'])}, neither Tanh nor ReLU",
            field="policy_kwargs.activation_fn",
            fix=_RETRAIN,
        )
    return activation


def _check_class(described: object) -> None:
    if not isinstance(described, dict):
        raise BundleError("is missing", field="policy_class", fix="save the model with SB3's PPO.save")
    module = described.get("__module__")
    if module != _POLICY_MODULE:
        raise BundleError(f"comes from {shorten(module)}: another net type", field="policy_class", fix=_RETRAIN)
    method = described.get("__init__")
    if method is None:
        return
    match = _METHOD_TEXT.fullmatch(method) if isinstance(method, str) else None
    if match is None or match[1] != _POLICY_CLASS:
        name = match[1] if match else shorten(method)
        raise BundleError(f"is {name}, not {_POLICY_CLASS}: another net type", field="policy_class", fix=_RETRAIN)


def _check_spaces(data: dict[str, Any], inputs: int | None) -> None:
    box, discrete = data.get("observation_space"), data.get("action_space")
    if not isinstance(box, dict) or not _class_in(box.get(":type:")).endswith(".spaces.box.Box"):
        raise BundleError("is not a Box", field="observation_space", fix=_RETRAIN)
    if box.get("dtype") != "float32":
        raise BundleError(f"is {shorten(box.get('dtype'))}, not float32", field="observation_space.dtype")
    shape = box.get("_shape")
    if not isinstance(shape, list) or len(shape) != 1 or (inputs is not None and shape != [inputs]):
        wanted = "one dimension" if inputs is None else f"[{inputs}] = 6 features + states + 3"
        given = str(shape) if isinstance(shape, list) and len(shape) < 4 else shorten(shape)
        raise BundleError(f"is {shorten(given)[1:-1]}, not {wanted}", field="observation_space._shape")
    if not isinstance(discrete, dict) or not _class_in(discrete.get(":type:")).endswith(".spaces.discrete.Discrete"):
        raise BundleError("is not Discrete", field="action_space", fix=_RETRAIN)
    for name, wanted in (("n", str(len(ACTIONS))), ("start", "0")):
        if str(discrete.get(name, "0" if name == "start" else None)) != wanted:
            raise BundleError(f"is {shorten(discrete.get(name))}, not {wanted}", field=f"action_space.{name}")


def _class_in(text: object) -> str:
    """``torch.nn.ReLU`` out of ``<class 'torch.nn.ReLU'>``; empty when the text is anything else."""
    match = _CLASS_TEXT.fullmatch(text) if isinstance(text, str) else None
    return match[1] if match else ""


def _read_actor(file: TensorFile, inputs: int | None, activation: Activation) -> PolicyNet:
    """The linear layers of the actor, each checked against the one before."""
    layers = _actor_layers(file.tensors)
    width = inputs
    parameters = 0
    for name, weight, bias in layers:
        if len(weight.shape) != 2 or (width is not None and weight.shape[1] != width):
            raise BundleError(f"has shape {weight.shape}, not (outputs, {width or 'inputs'})", field=f"{name}.weight")
        width = weight.shape[0]
        if bias.shape != (width,):
            raise BundleError(f"has shape {bias.shape}, not ({width},)", field=f"{name}.bias")
        parameters += weight.size + bias.size
    if width != len(ACTIONS):
        raise BundleError(f"gives {width} logits, not {len(ACTIONS)}", field="action_net.weight")
    if 4 * parameters > MAX_STORAGE_BYTES:
        raise BundleError(f"has {parameters} weights, more than {MAX_STORAGE_BYTES // 4}", fix="train a smaller net")
    weights = tuple(_numbers(file, f"{name}.weight", tensor).T for name, tensor, _ in layers)
    net = PolicyNet(
        tuple(np.ascontiguousarray(weight) for weight in weights),
        tuple(_numbers(file, f"{name}.bias", tensor) for name, _, tensor in layers),
        activation,
    )
    _refuse_overflow(net, [name for name, _, _ in layers])
    return net


def _refuse_overflow(net: PolicyNet, names: Sequence[str]) -> None:
    """No observation may lead to a logit that is no number: bound every layer's sums in float64."""
    largest = LARGEST_INPUT
    for name, weight, bias in zip(names, net.weights, net.biases, strict=True):
        sums = np.abs(weight.astype(np.float64)).sum(axis=0) * largest + np.abs(bias.astype(np.float64))
        largest = float(sums.max())
        if largest > LARGEST_SUM:
            raise BundleError("is so large that the net can overflow", field=f"{name}.weight", fix=_RETRAIN)
        if net.activation == "tanh":
            largest = 1.0


def _actor_layers(tensors: dict[str, Tensor]) -> list[tuple[str, Tensor, Tensor]]:
    """Name, weight and bias of each layer, from the input to the logits."""
    hidden: set[int] = set()
    for key in tensors:
        match = _ACTOR_KEY.fullmatch(key)
        if match:
            hidden.add(int(match[1]))
        elif key not in ("action_net.weight", "action_net.bias") and not _CRITIC_KEY.fullmatch(key):
            raise BundleError("belongs to another net type than a plain MlpPolicy", field=shorten(key), fix=_RETRAIN)
    if len(hidden) >= MAX_LAYERS:
        raise BundleError(f"has {len(hidden)} hidden layers, more than {MAX_LAYERS - 1}", fix=_RETRAIN)
    for place, index in enumerate(sorted(hidden)):
        if index != 2 * place:
            raise BundleError(
                "is out of place: linear layers have even numbers, activations stand between",
                field=f"mlp_extractor.policy_net.{index}",
                fix=_RETRAIN,
            )
    names = [f"mlp_extractor.policy_net.{index}" for index in sorted(hidden)] + ["action_net"]
    for name in names:
        for part in ("weight", "bias"):
            if f"{name}.{part}" not in tensors:
                raise BundleError("is missing", field=f"{name}.{part}")
    return [(name, tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in names]


def _numbers(file: TensorFile, name: str, tensor: Tensor) -> Float32:
    values = file.numbers(tensor)
    if not values.size:
        raise BundleError("is empty", field=name)
    if not np.isfinite(values).all():
        raise BundleError("holds NaN or infinity", field=name, fix="train the policy again")
    return values
