"""The regime model: does its state say anything, and would another decoding say the same?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from oracle_batch.training.audit.findings import Finding, Severity
from oracle_batch.training.audit.subject import Subject, as_if
from oracle_batch.training.backtest.lives import Sight

COMPARED_ROWS: Final = 3000
"""Newest rows on which the decodings are compared."""
ONE_HOT: Final = 0.999999
DEAD: Final = 0.98
"""Share of bars in one state from which on the regime is a constant."""
RARE: Final = 0.01
DIFFERS: Final = 0.1


def degenerate(subject: Subject) -> Finding:
    """Whether the decoded state ever changes."""
    model, states = subject.model, subject.sight.hmm_state
    shares = np.bincount(states, minlength=model.regime.n_states) / len(states)
    start = model.regime.startprob
    one_hot = float(start.max()) >= ONE_HOT
    changes = float(np.mean(np.diff(states) != 0))
    numbers: dict[str, Any] = {
        "decoding": model.decoding,
        "startprob_max": float(start.max()),
        "startprob_is_one_hot": one_hot,
        "state_shares": shares.tolist(),
        "changes_per_bar": changes,
    }
    if shares.max() >= DEAD and model.regime.n_states > 1:
        why = "its start probabilities are practically one-hot and " if one_hot and model.decoding == "single" else ""
        text = (
            f"The regime is a constant: {why}state {int(shares.argmax())} is decoded on {shares.max():.1%} of the "
            "bars. The policy trades without the regimes that it was trained with, unless training had the same fault."
        )
        return Finding("REGIME_DEGENERATE", "critical", text, numbers)
    rare = [int(state) for state in np.flatnonzero(shares < RARE)]
    if rare:
        text = f"{len(rare)} of {len(shares)} regimes are seen on less than {RARE:.0%} of the bars: states {rare}."
        return Finding("REGIME_RARE_STATES", "warning", text, numbers)
    if one_hot and model.decoding == "single":
        text = "The start probabilities are practically one-hot, and `single` decoding multiplies by them on every bar."
        return Finding("REGIME_ONE_HOT_START", "warning", text, numbers)
    text = f"All {len(shares)} regimes are seen; the state changes on {changes:.1%} of the bars."
    return Finding("REGIME_SEEN", "ok", text, numbers)


def decodings(subject: Subject) -> Finding:
    """On how many bars `filter` and `viterbi` see another state, and on how many the action would be another."""
    rows = min(COMPARED_ROWS, len(subject.sight))
    own = subject.sight.hmm_state[-rows:]
    said = subject.life.action[-rows:]
    numbers: dict[str, Any] = {"decoding": subject.model.decoding, "rows": rows}
    largest = 0.0
    for other in ("single", "filter", "viterbi"):
        if other == subject.model.decoding:
            continue
        seen = as_if(subject, other, rows)
        differs = float(np.mean(seen.hmm_state != own))
        numbers[f"state_differs_from_{other}"] = differs
        numbers[f"action_differs_from_{other}"] = float(np.mean(_actions(subject, seen, rows) != said))
        if other != "single":
            largest = max(largest, differs)
    if subject.model.decoding != "single":
        text = f"Decoded by `{subject.model.decoding}`, as this project trains."
        return Finding("DECODING", "ok", text, numbers)
    severity: Severity = "critical" if largest > 0.5 else "warning" if largest > DIFFERS else "note"
    text = (
        f"`single` decoding sees another state than the filter on {numbers['state_differs_from_filter']:.1%} of the "
        f"bars and than Viterbi on {numbers['state_differs_from_viterbi']:.1%}; with the filter's states the action "
        f"would be another on {numbers['action_differs_from_filter']:.1%}. If training decoded whole sequences, "
        "live trading shows the policy regimes that it was not trained on."
    )
    return Finding("DECODING_DIFFERS", severity, text, numbers)


def _actions(subject: Subject, seen: Sight, rows: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """The actions that the states of ``seen`` would lead to, the twin being where it was."""
    states = subject.sight.hmm_state.copy()
    states[-rows:] = seen.hmm_state
    found: np.ndarray[Any, np.dtype[np.intp]] = subject.logits(replace(subject.sight, hmm_state=states)).argmax(axis=1)
    return found[-rows:]
