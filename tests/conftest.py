"""What holds for every test."""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that started the suite in the background; children would inherit it and could not be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)
