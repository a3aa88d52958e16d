"""The picture of a tick shows every stage, the orders, and the time from the trigger to the last of them."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import timeline
from oracle_batch import trace

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def armed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trace of an armed tick: 2.5 ms from the trigger to the last order."""
    path = tmp_path / "trace.json"
    monkeypatch.setattr(trace, "_events", None)
    trace.start(path)
    trace.span("start", 100.0, 100.5)
    trace.span("gather", 100.5, 101.0)
    trace.span("wait", 101.0, 104.0)
    trace.span("plan", 104.0, 104.001)
    trace.span("journal", 104.001, 104.002)
    trace.span("fsync", 104.0011, 104.0019, "disk")
    trace.span("ob-EURUSD_M15-0-1 accepted", 104.0025, 104.003, "ob-EURUSD_M15-0-1")
    trace.span("ob-EURUSD_M15-0-1 filled", 104.0025, 104.004, "ob-EURUSD_M15-0-1")
    trace.instant("last order", 104.0025)
    trace.span("send", 104.002, 104.01)
    trace.write(path)
    return path


def drawn(monkeypatch: pytest.MonkeyPatch, source: Path) -> ElementTree.Element:
    picture = source.with_suffix(".svg")
    monkeypatch.setattr(sys, "argv", ["timeline", str(source), str(picture)])
    timeline.main()
    return ElementTree.fromstring(picture.read_text())


def test_an_armed_tick_is_drawn_as_a_whole_and_from_its_trigger_on(
    armed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [one.text for one in drawn(monkeypatch, armed).iter(f"{SVG}text")]
    assert "the whole tick" in texts
    assert "from the trigger on: 2.50 ms to the last order" in texts
    assert texts.count("disk") == texts.count("orders") == 2


def test_what_was_before_the_trigger_is_not_in_the_second_panel(armed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles = [one.text or "" for one in drawn(monkeypatch, armed).iter(f"{SVG}title")]
    assert [one.split()[0] for one in titles].count("gather") == 1
    assert [one.split()[0] for one in titles].count("journal") == 2


@pytest.mark.parametrize("text", ["", "{}", '{"traceEvents": [1]}'])
def test_what_is_no_trace_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    source = tmp_path / "trace.json"
    source.write_text(text)
    with pytest.raises(SystemExit, match=r"trace\.json"):
        drawn(monkeypatch, source)
