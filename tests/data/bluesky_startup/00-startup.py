"""A start-up file as laboratories with bluesky have them; it knows nothing of Labspine and is never changed."""

import os

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
from bluesky import RunEngine
from bluesky.callbacks import LiveTable
from bluesky.callbacks.best_effort import BestEffortCallback
from bluesky.run_engine import RunEngineInterrupted
from bluesky.suspenders import SuspendFloor
from bluesky.utils import FailedStatus, PersistentDict, ProgressBarManager
from ophyd import Signal
from ophyd.sim import det, det1, motor, motor1, motor2

# -- the engine and its metadata -------------------------------------------------------------------
RE = RunEngine(PersistentDict(os.environ["BLUESKY_MD"]))
RE.md["beamline_id"] = "X1"
RE.md.setdefault("operator", "nobody")
RE.waiting_hook = ProgressBarManager()

bec = BestEffortCallback()
bec.disable_plots()
RE.subscribe(bec)

sd = bpp.SupplementalData(baseline=[motor2])
RE.preprocessors.append(sd)

# -- a suspender -----------------------------------------------------------------------------------
ring_current = Signal(name="ring_current", value=400.0)
RE.install_suspender(SuspendFloor(ring_current, 10.0, resume_thresh=100.0))

# -- documents to a list, as a database would take them --------------------------------------------
documents = []
token = RE.subscribe(lambda name, doc: documents.append((name, doc)))


# -- the laboratory's own plans --------------------------------------------------------------------
@bpp.stage_decorator([det])
@bpp.run_decorator(md={"plan_name": "peak_and_back"})
def peak_and_back(start, stop, num):
    """Scan by hand, go back to where the motor was, whatever happens."""
    before = yield from bps.rd(motor)

    def inner():
        for step in range(num):
            yield from bps.checkpoint()
            yield from bps.mv(motor, start + (stop - start) * step / (num - 1))
            yield from bps.trigger_and_read([det, motor])

    yield from bpp.finalize_wrapper(inner(), bps.mv(motor, before))
    return before


def pausing():
    """Ask the person to look at the sample."""
    yield from bps.open_run(md={"plan_name": "pausing"})
    yield from bps.checkpoint()
    yield from bps.mv(motor1, 3)
    yield from bps.pause()
    yield from bps.trigger_and_read([det1])
    yield from bps.close_run()


class Broken:
    """A motor that fails."""

    name = "broken"
    parent = None

    def set(self, value):
        from ophyd.status import Status

        status = Status()
        status.set_exception(ValueError("it broke"))
        return status


# -- what a person types ----------------------------------------------------------------------------
uids = [*RE(bp.count([det1], num=3), sample="LaB6")]
uids += RE(bp.scan([det], motor, -1, 1, 5), LiveTable([motor, det]))
uids += RE(bp.rel_grid_scan([det1], motor1, -1, 1, 2, motor2, -1, 1, 2, snake_axes=True))
uids += RE(peak_and_back(-1, 1, 3))
try:
    RE(pausing())
except RunEngineInterrupted:
    uids += RE.resume()
try:
    RE(bps.mv(Broken(), 1))
except FailedStatus as error:
    failure = type(error.__cause__).__name__
RE.unsubscribe(token)
state = str(RE.state)
