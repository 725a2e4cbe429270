"""Keeps the windows of a Qt program alive while it waits for a plan; looks only at what is loaded already."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Any

__all__ = ["QtWait", "qt_wait"]

BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
LOOK_MS = 10


def qt_wait() -> QtWait | None:
    """
    Find the Qt application of this program.

    Returns:
        Something that waits and keeps it running; None when there is none, or outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    for binding in BINDINGS:
        core = sys.modules.get(f"{binding}.QtCore")
        if core is not None and core.QCoreApplication.instance() is not None:
            return QtWait(core)
    return None


class QtWait:
    """
    Run Qt's events until a ``threading.Event`` is set; can be given as ``during_task``.

    Args:
        core: The module ``QtCore`` of PyQt or PySide.
    """

    def __init__(self, core: Any) -> None:
        self._core = core

    def block(self, event: threading.Event) -> None:
        """
        Wait.

        Args:
            event: What to wait for.

        Raises:
            BaseException: What a handler of a signal raised, such as KeyboardInterrupt.
        """
        if event.wait(0.0):
            return
        loop, timer = self._core.QEventLoop(), self._core.QTimer()
        raised: list[BaseException] = []
        hook = sys.excepthook

        def caught(cls: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            # What leaves a slot would end the whole program; only what is meant for the caller goes on.
            if isinstance(error, Exception):
                hook(cls, error, trace)
                return
            raised.append(error)
            loop.quit()

        def look() -> None:
            # Python runs its handlers of signals here, too.
            if event.is_set():
                loop.quit()

        timer.timeout.connect(look)
        timer.start(LOOK_MS)
        sys.excepthook = caught
        try:
            run = loop.exec if hasattr(loop, "exec") else loop.exec_
            run()
        finally:
            sys.excepthook = hook
            timer.stop()
        if raised:
            raise raised[0]
