"""Pickles that want to run something: refused by name, and nothing happens."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oracle_batch.bundle.compiled import load_model
from oracle_batch.errors import BundleError
from tests.bundle.build import (
    CONVERGENCE_MONITOR,
    GAUSSIAN_HMM,
    Call,
    Global,
    Instance,
    Parts,
    dumps,
    parts,
    torch_file,
    zip_bytes,
)

HMM = "EURUSD_M15_hmm.pkl"
DTYPE = Global("numpy", "dtype")
RECONSTRUCT = Global("numpy._core.multiarray", "_reconstruct")
NDARRAY = Global("numpy", "ndarray")


def refusal(bundle: Parts, folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load_model(bundle.write(folder), folder / "compiled")
    assert not (folder / "compiled").exists()
    return str(caught.value)


def with_hmm(value: Any, protocol: int = 4) -> Parts:
    bundle = parts()
    bundle.raw[HMM] = value if isinstance(value, bytes) else dumps(value, protocol)
    return bundle


def with_data_pkl(data: bytes) -> Parts:
    bundle = parts()
    bundle.ppo_raw["policy.pth"] = zip_bytes({"archive/data.pkl": data, "archive/version": b"3\n"}, compression=0)
    return bundle


def attacks(canary: Path) -> dict[str, Call]:
    """Streams that create the canary file when they are loaded the ordinary way."""
    touch = f"open({str(canary)!r}, 'w').close()"
    return {
        "os.system": Call(Global("os", "system"), (f"touch {canary}",)),
        "posix.system": Call(Global("posix", "system"), (f"touch {canary}",)),
        "subprocess.check_call": Call(Global("subprocess", "check_call"), (["touch", str(canary)],)),
        "subprocess.Popen": Call(Global("subprocess", "Popen"), (["touch", str(canary)],)),
        "builtins.eval": Call(Global("builtins", "eval"), (touch,)),
        "builtins.exec": Call(Global("builtins", "exec"), (touch,)),
        "builtins.open": Call(Global("builtins", "open"), (str(canary), "w")),
        "builtins.getattr": Call(Global("builtins", "getattr"), (Global("numpy", "ndarray"), "tofile")),
        "builtins.__import__": Call(Global("builtins", "__import__"), ("os",)),
        "runpy._run_code": Call(Global("runpy", "_run_code"), (touch, {})),
        "numpy.testing._private.utils.runstring": Call(
            Global("numpy.testing._private.utils", "runstring"), (touch, {})
        ),
        "numpy.f2py.crackfortran.getlincoef": Call(
            Global("numpy.f2py.crackfortran", "getlincoef"), (f"__import__('os').system('touch {canary}')", ())
        ),
        "numpy.load": Call(Global("numpy", "load"), ("/dev/null",)),
        "numpy.core.numeric._frombuffer": Call(Global("numpy.core.numeric", "_frombuffer"), (b"", DTYPE, (0,), "C")),
        "torch.load": Call(Global("torch", "load"), ("/dev/null",)),
        "torch.jit.load": Call(Global("torch.jit", "load"), ("/dev/null",)),
        "torch.storage._load_from_bytes": Call(
            Global("torch.storage", "_load_from_bytes"), (dumps(Call(Global("os", "system"), (f"touch {canary}",))),)
        ),
        "torch._utils._rebuild_parameter": Call(Global("torch._utils", "_rebuild_parameter"), (1, True, {})),
        "copyreg._reconstructor": Call(
            Global("copyreg", "_reconstructor"), (GAUSSIAN_HMM, Global("builtins", "object"), None)
        ),
        "copyreg.__newobj__": Call(Global("copyreg", "__newobj__"), (GAUSSIAN_HMM,)),
        "_codecs.encode": Call(Global("_codecs", "encode"), ("abc", "latin1")),
        "functools.partial": Call(Global("functools", "partial"), (Global("os", "system"), f"touch {canary}")),
        "operator.attrgetter": Call(Global("operator", "attrgetter"), ("system",)),
        "cloudpickle.cloudpickle._make_function": Call(
            Global("cloudpickle.cloudpickle", "_make_function"), (None, None, None, None, None)
        ),
        "numpy.random._pickle.__randomstate_ctor": Call(
            Global("numpy.random._pickle", "__randomstate_ctor"), ("MT19937",)
        ),
        "hmmlearn.hmm.GMMHMM": Call(Global("hmmlearn.hmm", "GMMHMM"), ()),
    }


@pytest.mark.parametrize("name", list(attacks(Path("x"))))
@pytest.mark.parametrize("place", ["top", "in a dict", "in the model", "second", "reversed tuple"])
def test_a_global_outside_the_list_is_named_and_never_called(tmp_path: Path, name: str, place: str) -> None:
    canary = tmp_path / "canary"
    attack = attacks(canary)[name]
    honest = parts()
    value: Any = attack
    if place == "in a dict":
        value = {"model": Instance(GAUSSIAN_HMM, honest.hmm), "note": [attack]}
    elif place == "in the model":
        value = Instance(GAUSSIAN_HMM, {**honest.hmm, "means_": attack})
    elif place == "second":
        value = {"model": Instance(GAUSSIAN_HMM, honest.hmm), "z": ((), {"k": (attack,)})}
    elif place == "reversed tuple":
        value = (attack, Instance(GAUSSIAN_HMM, honest.hmm))
    text = refusal(with_hmm(value), tmp_path)
    # an argument that is itself a forbidden global is met first, whichever comes first in the stream
    assert name in text
    assert HMM in text
    assert not canary.exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_every_protocol_is_guarded(tmp_path: Path, protocol: int) -> None:
    canary = tmp_path / "canary"
    text = refusal(with_hmm(Call(Global("os", "system"), (f"touch {canary}",)), protocol), tmp_path)
    assert "os.system" in text
    assert not canary.exists()


@pytest.mark.parametrize("name", list(attacks(Path("x"))))
def test_the_policy_pickle_is_guarded_too(tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    tensors = OrderedDict({"action_net.weight": attacks(canary)[name]})
    text = refusal(with_data_pkl(dumps(tensors, 2)), tmp_path)
    assert name in text
    assert "policy.pth" in text
    assert not canary.exists()


def test_the_attacks_are_real(tmp_path: Path) -> None:
    """Proof that the canary can die: the same bytes, given to Python's own pickle in a child process."""
    canary = tmp_path / "canary"
    file = tmp_path / "attack.pkl"
    file.write_bytes(dumps(attacks(canary)["os.system"]))
    subprocess.run([sys.executable, "-c", f"import pickle; pickle.load(open({str(file)!r}, 'rb'))"], check=True)
    assert canary.exists()


def test_serialized_fields_of_sb3_and_the_optimizer_are_never_loaded(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    bundle = parts()
    attack = dumps(attacks(canary)["os.system"])
    bundle.ppo_raw["pytorch_variables.pth"] = bundle.ppo_raw["policy.optimizer.pth"] = attack
    load_model(bundle.write(tmp_path), None)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("stream", "named"),
    [
        (b"(S'touch x'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nS'touch x'\no.", "os.system"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.", "pickle"),
        (b"\x80\x05\x96\x01\x00\x00\x00\x00\x00\x00\x00x.", "BYTEARRAY8"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x04\x8f.", "EMPTY_SET"),
        (b"\x80\x04(\x91.", "FROZENSET"),
        (b"P1\n.", "PERSID"),
        (b"\x80\x02K\x01Q.", "persistent id"),
        (b"\x80\x02K\x01Nb.", "sets the state of a int"),
        (b"\x80\x02]}b.", "sets the state of a list"),
        (b"\x80\x02]]R.", "calls a list"),
        (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x93.", "os.system"),
        (b"\x80\x04K\x01K\x02\x93.", "not text"),
        (b"cnumpy\nndarray\n)\x81.", "numpy.ndarray"),
        (b"cnumpy\nndarray\n)R.", "numpy.ndarray"),
        (b"chmmlearn.hmm\nGaussianHMM\n)R.", "GaussianHMM"),
        (b"chmmlearn.hmm\nGaussianHMM\n)}\x92.", "NEWOBJ_EX"),
        (b"chmmlearn.hmm\nGaussianHMM\n(K\x01t\x81.", "GaussianHMM"),
        (b"chmmlearn.hmm\nGaussianHMM\n)\x81N}\x86b.", "state"),
        (b"chmmlearn.hmm\nGaussianHMM\n)\x81}K\x01K\x02sb.", "state"),
        (b"}((K\x01tK\x02u.", "dict key"),
        (b"}]K\x01s.", "dict key"),
        (b"}(K\x01u.", "dict"),
        (b"K\x01K\x02a.", "list"),
        (b"h\x05.", "never stored"),
        (b"r\xff\xff\xff\x7f.", "empty stack"),
        (b"a.", "empty stack"),
        (b"u.", "mark"),
        (b".", "empty stack"),
        (b"", "pickle"),
        (b"\x80\x09K\x01.", "int"),
        (b"N", "pickle"),
        (b"K\x01.trailing", "behind the end"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "pickle"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "pickle"),
        (b"\x8b\xff\xff\xff\x7f.", "pickle"),
        (b"I" + b"9" * 6000 + b"\n.", "pickle"),
        (b"\xff\xfe\x00", "pickle"),
        (b"not a pickle at all", "pickle"),
        (b"S'\\m'\n.", "not a hmmlearn.hmm.GaussianHMM"),
        (b"S'\\x'\n.", "pickle"),
        (b"(" * 5000 + b"t" * 5000 + b".", "not a hmmlearn.hmm.GaussianHMM"),
        (b"]" * 20000 + b"a" * 19999 + b".", "not a hmmlearn.hmm.GaussianHMM"),
        (b"]2a.", "not a hmmlearn.hmm.GaussianHMM"),
        (b"N" * 300_000 + b".", "instructions"),
        (b"X" + (2_000_000).to_bytes(4, "little") + b"x" * 2_000_000 + b".", "bytes, more than"),
    ],
)
def test_strange_streams_are_refused(tmp_path: Path, stream: bytes, named: str) -> None:
    assert named in refusal(with_hmm(stream), tmp_path)


def dtype_of(code: str, state: Any = (3, "<", None, None, None, -1, -1, 0)) -> Any:
    """A pickled dtype: what ``Instance`` is for objects, by REDUCE and BUILD."""
    return StatefulCall(Call(DTYPE, (code, False, True)), state)


class StatefulCall(Instance):
    """A REDUCE followed by a BUILD."""

    def __init__(self, call: Call, state: Any) -> None:
        super().__init__(call, state)  # type: ignore[arg-type]


def _save_stateful(self: Any, obj: StatefulCall) -> None:
    self.save(obj.cls)
    self.save(obj.state)
    self.write(pickle.BUILD)


@pytest.fixture(autouse=True)
def _stateful(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.bundle.build import StubPickler

    monkeypatch.setitem(StubPickler.dispatch, StatefulCall, _save_stateful)


def array_of(shape: Any, raw: Any, dtype: Any = None, *, version: int = 1, base: Any = NDARRAY) -> Any:
    kind = dtype if dtype is not None else dtype_of("f8")
    return StatefulCall(Call(RECONSTRUCT, (base, (0,), b"b")), (version, shape, kind, False, raw))


@pytest.mark.parametrize(
    ("means", "named"),
    [
        (array_of((5, 3), b"\0" * 119), "119 bytes for an array"),
        (array_of((10**6, 10**6), b"\0" * 120), "bytes for an array"),
        (array_of((2**62, 2**62), b""), "shape"),
        (array_of((-1, 3), b""), "shape"),
        (array_of((5.0, 3), b"\0" * 120), "shape"),
        (array_of([5, 3], b"\0" * 120), "shape"),
        (array_of((5, 3), "x" * 120), "not numbers"),
        (array_of((5, 3), [1, 2, 3]), "not numbers"),
        (array_of((5, 3), b"\0" * 120, version=7), "unknown state"),
        (array_of((5, 3), b"\0" * 120, dtype_of("O8")), "array type 'O8'"),
        (array_of((5, 3), b"\0" * 120, dtype_of("V8")), "array type 'V8'"),
        (array_of((5, 3), b"\0" * 120, dtype_of("c16")), "array type 'c16'"),
        (array_of((5, 3), b"\0" * 120, dtype_of("U2")), "array type 'U2'"),
        (array_of((5, 3), b"\0" * 120, dtype_of("f8, O")), "array type"),
        (array_of((5, 3), b"\0" * 120, dtype_of("f8", (3, "<", None, ("a",), {}, -1, -1, 0))), "structured"),
        (array_of((5, 3), b"\0" * 120, dtype_of("f8", (3, "<", (DTYPE, (9,)), None, None, -1, -1, 0))), "structured"),
        (array_of((5, 3), b"\0" * 120, dtype_of("f8", (3, "?", None, None, None, -1, -1, 0))), "unknown state"),
        (array_of((5, 3), b"\0" * 120, base=GAUSSIAN_HMM), "numpy.ndarray"),
        (array_of((5, 3), b"\0" * 15, dtype_of("b1")), "not an array of numbers"),
        (Call(RECONSTRUCT, (NDARRAY, (0,), b"b")), "not an array of numbers"),
        (Instance(CONVERGENCE_MONITOR, {}), "not an array of numbers"),
        (None, "not an array of numbers"),
        (np.full((5, 3), np.nan), "NaN"),
        (np.full((5, 3), np.inf), "NaN or infinity"),
        (np.zeros((5, 4)), "shape (5, 4)"),
        (np.zeros((3, 5)), "shape (3, 5)"),
    ],
)
def test_arrays_that_are_not_what_they_claim_are_refused(tmp_path: Path, means: Any, named: str) -> None:
    bundle = parts()
    bundle.hmm["means_"] = means
    text = refusal(bundle, tmp_path)
    assert named in text
    assert HMM in text


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f8", ">f8", "<f4", "<i4", ">i8"])
def test_arrays_keep_their_numbers_in_any_layout(tmp_path: Path, order: Any, kind: str) -> None:
    bundle = parts()
    means = np.array(np.arange(15).reshape(5, 3), dtype=kind, order=order)
    bundle.hmm["means_"] = means
    assert np.array_equal(load_model(bundle.write(tmp_path), None).regime.means, means)


def test_numpy_scalars_are_numbers(tmp_path: Path) -> None:
    bundle = parts()
    bundle.hmm["tol"] = np.float64(0.5)
    bundle.hmm["random_state"] = np.int64(3)
    load_model(bundle.write(tmp_path), None)


def test_pickles_of_numpy_1_are_read(tmp_path: Path) -> None:
    bundle = parts()
    old = dumps(Instance(GAUSSIAN_HMM, bundle.hmm), 2)
    assert b"_codecs" in old  # protocol 2 spells bytes that way, which is outside the list
    modern = bundle.hmm_bytes()
    bundle.raw[HMM] = modern.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
    assert bundle.raw[HMM] != modern
    # the frame is one byte shorter now; pickletools does not care, and neither does the reader
    assert load_model(bundle.write(tmp_path), None).regime.n_states == 5


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (b"FloatStorage", b"DoubleStorage", "torch.DoubleStorage"),
        (b"ctorch\nFloatStorage", b"ctorch._utils\n_rebuild_tensor_v2", "storage of float32"),
        (b"storage", b"module_", "storage"),
        (b"cpu", b"xyz", "keeps a storage at"),
        (b"_rebuild_tensor_v2", b"_rebuild_qtensor", "torch._utils._rebuild_qtensor"),
    ],
)
def test_other_ways_of_storing_tensors_are_refused(tmp_path: Path, old: bytes, new: bytes, named: str) -> None:
    from oracle_batch.bundle.archive import Archive

    bundle = parts(hidden=())
    archive = Archive(torch_file(bundle.policy))
    members = {name: archive.read(name, 10**6) for name in archive.names}
    spoiled = members["archive/data.pkl"].replace(old, new)
    if len(old) != len(new) and old == b"cpu":
        raise AssertionError("keep the length")
    members["archive/data.pkl"] = spoiled
    bundle.ppo_raw["policy.pth"] = zip_bytes(members, compression=0)
    assert named in refusal(bundle, tmp_path)
