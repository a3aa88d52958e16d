"""The audit of models that were made elsewhere and with other programs, where they are at hand."""

from __future__ import annotations

import pytest

from oracle_batch.training.audit.findings import Audit
from oracle_batch.training.audit.work import task_of, work
from tests.brain.markets import SHARED

pytestmark = pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="there are no further models")


def audited(name: str) -> Audit:
    return work(task_of(SHARED / "models" / f"{name}.zip", SHARED / "data", {})).audit


WRONG = {
    "USDCHF_M15": {"REGIME_DEGENERATE": "critical", "DECODING_DIFFERS": "critical", "TURNOVER": "critical"},
    "USDJPY_M15": {"ACTIONS": "critical", "DECODING_DIFFERS": "warning", "TURNOVER": "critical"},
    "NAS100_M15": {"CONTRACT_DIFFERS": "critical", "TRADING_COSTS": "critical", "PNL_SATURATED": "warning"},
    "EURJPY_H1": {"CLOCK_NOT_UTC": "warning", "TURNOVER": "critical"},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_model_of_elsewhere_is_found(name: str) -> None:
    found = audited(name)
    severities = {one.code: one.severity for one in found.findings}
    assert {code: severities.get(code) for code in WRONG[name]} == WRONG[name]
    assert severities["PROVENANCE"] == "warning"
    assert (found.severity, found.exit_code) == ("critical", 3)


def test_a_constant_regime_is_put_down_to_its_one_hot_start() -> None:
    (regime,) = [one for one in audited("USDCHF_M15").findings if one.code == "REGIME_DEGENERATE"]
    assert regime.numbers["startprob_is_one_hot"]
    assert max(regime.numbers["state_shares"]) > 0.99
