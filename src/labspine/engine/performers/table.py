"""The commands that every engine knows."""

from __future__ import annotations

from . import control, flying, motion, reading, runs, timing
from .command import Command

__all__ = ["BUILT_IN"]

READ = ("name", "read", "describe")
COLLECT = ("name", "describe_collect")
SUBSCRIBE = ("name", "describe", "subscribe", "clear_sub")
FLY = ("kickoff", "complete")

BUILT_IN: dict[str, Command] = {
    "open_run": Command(runs.open_run, is_cacheable=False),
    "close_run": Command(runs.close_run, is_cacheable=False, in_run=True),
    "create": Command(runs.create, in_run=True),
    "save": Command(runs.save, in_run=True),
    "drop": Command(runs.drop, in_run=True),
    "declare_stream": Command(runs.declare_stream, in_run=True, patience_s=5.0),
    "configure": Command(runs.configure, needs=("configure",), patience_s=5.0),
    "read": Command(reading.read, needs=READ),
    "locate": Command(reading.locate, needs=("locate",)),
    "monitor": Command(reading.monitor, is_cacheable=False, needs=SUBSCRIBE, in_run=True, patience_s=5.0),
    "unmonitor": Command(reading.unmonitor, is_cacheable=False, in_run=True),
    "set": Command(motion.set_, needs=("set",)),
    "trigger": Command(motion.trigger, needs=("trigger",)),
    "prepare": Command(motion.prepare, needs=("prepare",)),
    "stop": Command(motion.stop, needs=("stop",)),
    "stage": Command(motion.stage, is_cacheable=False, patience_s=5.0),
    "unstage": Command(motion.unstage, is_cacheable=False, patience_s=5.0),
    "kickoff": Command(flying.kickoff, needs=FLY, in_run=True),
    "complete": Command(flying.complete, needs=FLY),
    "collect": Command(flying.collect, needs=COLLECT, in_run=True, patience_s=5.0),
    "wait": Command(timing.wait, patience_s=0.0),
    "wait_for": Command(timing.wait_for, patience_s=0.0),
    "sleep": Command(timing.sleep, patience_s=0.0),
    "input": Command(timing.ask, patience_s=0.0),
    "null": Command(timing.null),
    "checkpoint": Command(control.checkpoint),
    "clear_checkpoint": Command(control.clear_checkpoint, is_cacheable=False),
    "rewindable": Command(control.rewindable),
    "pause": Command(control.pause, is_cacheable=False),
    "subscribe": Command(control.subscribe, is_cacheable=False),
    "unsubscribe": Command(control.unsubscribe, is_cacheable=False),
    "install_suspender": Command(control.install_suspender, is_cacheable=False),
    "remove_suspender": Command(control.remove_suspender, is_cacheable=False),
    "RE_class": Command(control.engine_class),
    "_start_suspender": Command(control.start_suspender, is_cacheable=False, patience_s=30.0),
    "_resume_from_suspender": Command(control.resume_from_suspender, patience_s=30.0),
}
