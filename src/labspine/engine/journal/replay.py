"""
Goes on with a plan that a dead process has begun: the plan is started again and told the recorded answers.

Each step is compared with the recorded one. At the last place where the plan can go on, devices are brought
to the state in which the plan had left them, by steps of their own; then the engine performs the rest. An
event that the dead process had told already is measured again, if it lies behind that place, and not told
twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import shown
from ..documents import Member, Run, Stream
from ..msg import Msg, PlanGenerator
from ..performers import BUILT_IN
from ..performers.reading import Monitor
from ..session import Frame, Session
from .errors import CannotResume
from .frames import plain_bytes
from .steps import DEVICES, ERROR, LIVE, OPAQUE, STATUS, Entry, digest, label
from .story import ANSWER, ANY, COMMAND, DIGEST, KIND, NAME, CallStory, RunStory
from .writer import CallJournal

__all__ = ["Replay"]

OWN = "labspine-resume"
"""Group and run key of the steps that bring devices back to their state."""

LAST_COUNTS = frozenset({"set", "configure", "prepare"})


class RecordedStatus:
    """The status of something that was done before the process died."""

    done = True
    success = True

    def add_callback(self, func: Callable[[Any], object]) -> None:
        """Call back at once."""
        func(self)

    def exception(self, timeout: float | None = None) -> None:
        """Nothing failed."""


class Replay:
    """
    Bring a session to the place where another process died.

    Args:
        story: What the other process did.
        journal: Its journal, taken over.
        catch_up: Tell the recorded documents to the subscribers of this engine before new ones.
        paused: Pause before anything moves.
    """

    def __init__(
        self, story: CallStory, journal: CallJournal, *, catch_up: bool = True, paused: bool = False
    ) -> None:
        self.story = story
        self.journal = journal
        self.point = story.point()
        self.metadata: dict[str, Any] = dict(story.header.get("metadata") or {})
        self._catch_up = catch_up
        self._is_paused = paused
        self._state: dict[tuple[str, int], Any] = {}
        self._moved: dict[int, Any] = {}
        self._staged: dict[int, Any] = {}
        self._monitors: dict[int, Any] = {}
        self._floors: dict[str, int] = {}

    def begin(self, session: Session) -> None:
        """
        Lead the plan to its place; its next step is a new one. On the loop, before anything is performed.

        Args:
            session: A new call with the same plan.

        Raises:
            CannotResume: If the plan does other things than those that are recorded, or cannot go on.
        """
        self._open_runs(session)
        session.is_told = self._is_told
        session.statuses.known_groups.add(OWN)
        base = session.frames[0]
        reason = self.story.why_not_resumable()
        try:
            if reason is not None:
                self._meet_devices(session, base.plan)
                raise CannotResume(f"{self.story.words()}; it cannot go on: {reason}")
            base.answer = self._feed(session, base.plan, self.point)
        except CannotResume:
            # The clean-up of the session brings them to rest.
            session.moved.update(self._moved)
            session.staged.update(self._staged)
            raise
        session.step = self.point
        self._complete_streams(session)
        self.journal.resumed(self.point)
        if self._catch_up:
            for name, doc in self.story.documents:
                session.engine.emitter.emit(name, doc)
        self._listen_again(session)
        for run in session.open_runs():
            run.record_interruption("resume")
        session.frames.insert(1, Frame(self._restoring()))
        session.reset_checkpoint()
        if self._is_paused:
            session.engine.request_pause()

    # -- runs --------------------------------------------------------------------------------------

    def _open_runs(self, session: Session) -> None:
        # By their uid first: the key is known when the plan has opened them again.
        for told in self.story.runs.values():
            session.uids.append(told.uid)
            scan_id = told.start.get("scan_id")
            if scan_id is not None:
                session.engine.md["scan_id"] = scan_id
        for told in self.story.open_runs:
            names = [doc["name"] for doc in told.descriptors.values()]
            run = Run(told.start, emit=session.emit, record_interruptions="interruptions" in names)
            for doc in told.descriptors.values():
                stream = run.stream(doc["name"])
                stream.settle_keys(doc)
                stream.next_number = told.numbers[doc["name"]] + 1
                stream.rolls_back = doc["name"] != "interruptions"
            session.runs[told.uid] = run

    def _is_told(self, name: str, doc: dict[str, Any]) -> bool:
        if name not in ("event", "event_page") or doc["descriptor"] not in self._floors:
            return False
        number = doc["seq_num"] if name == "event" else max(doc["seq_num"])
        return bool(number <= self._floors[doc["descriptor"]])

    # -- steps -------------------------------------------------------------------------------------

    def _meet_devices(self, session: Session, plan: PlanGenerator) -> None:
        """Follow the plan as far as it is known, and to the step that was under way, for its devices."""
        try:
            answer = self._feed(session, plan, len(self.story.steps))
            self._remember(session, plan.send(answer))
        except (CannotResume, StopIteration, AttributeError) as error:
            session.problems.append(f"not all devices of the dead process are known: {error}")

    def _feed(self, session: Session, plan: PlanGenerator, count: int) -> Any:
        answer: Any = None
        for number, recorded in enumerate(self.story.steps[:count], 1):
            if recorded[KIND] in (OPAQUE, ERROR):
                raise self._differs(number, recorded, "nobody knows its answer")
            try:
                msg = plan.send(answer)
            except StopIteration:
                raise self._differs(number, recorded, "the plan ended") from None
            except Exception as error:
                raise self._differs(number, recorded, f"the plan raised {error!r}") from error
            self._compare(number, recorded, msg)
            self._remember(session, msg)
            answer = self._answer(session, msg, recorded)
        return answer

    def _compare(self, number: int, recorded: Entry, msg: Any) -> None:
        try:
            now = (msg.command, label(msg.obj), digest(msg))
        except AttributeError:
            raise self._differs(number, recorded, f"the plan yielded {shown(msg)}") from None
        if recorded[DIGEST] == ANY and recorded[COMMAND] == msg.command:
            return
        if plain_bytes(now) != plain_bytes(recorded[: DIGEST + 1]):
            raise self._differs(number, recorded, _words(now))

    def _differs(self, number: int, recorded: Entry, now: str) -> CannotResume:
        return CannotResume(
            f"{self.story.words()}; it cannot go on: step {number} was {_words(recorded)}, and now {now}"
        )

    def _remember(self, session: Session, msg: Any) -> None:
        command, obj = msg.command, msg.obj
        if obj is not None:
            session.seen[id(obj)] = obj
        if command in ("set", "trigger", "prepare", "kickoff", "complete"):
            self._moved[id(obj)] = obj
        if command in LAST_COUNTS:
            self._state.pop((command, id(obj)), None)
            self._state[command, id(obj)] = msg
        match command:
            case "stage":
                self._staged[id(obj)] = obj
                self._state["stage", id(obj)] = msg
            case "unstage":
                self._staged.pop(id(obj), None)
                self._state.pop(("stage", id(obj)), None)
            case "stop":
                self._state.pop(("set", id(obj)), None)
            case "trigger":
                self._state["trigger", id(obj)] = msg
            case "read":
                self._state.pop(("trigger", id(obj)), None)
            case "monitor":
                self._monitors[id(obj)] = msg
            case "unmonitor":
                self._monitors.pop(id(obj), None)
            case "rewindable" if msg.args and msg.args[0] is not None:
                session.rewindable = bool(msg.args[0])
            case _:
                group = msg.kwargs.get("group")
                if group is not None:
                    session.statuses.known_groups.add(group)

    def _answer(self, session: Session, msg: Any, recorded: Entry) -> Any:
        command = msg.command
        if command == "open_run":
            run = session.runs.pop(recorded[ANSWER], None)
            if run is not None:
                session.runs[msg.run] = run
        if command == "declare_stream":
            run = session.runs.get(msg.run)
            if run is None:
                return None
            stream = run.stream(msg.kwargs["name"])
            members = {id(obj): obj for obj in msg.args}
            run.declared.setdefault(frozenset(members), []).append(stream.name)
            return stream.descriptor, stream.event, list(members.values())
        if command in LIVE and command != "monitor":
            return BUILT_IN[command].perform(session, msg)
        if recorded[KIND] == STATUS:
            return RecordedStatus()
        if recorded[KIND] == DEVICES:
            return [msg.obj]
        return recorded[ANSWER]

    # -- going on ----------------------------------------------------------------------------------

    def _complete_streams(self, session: Session) -> None:
        for run in session.open_runs():
            told = self.story.runs[run.uid]
            for stream in run.streams.values():
                self._complete(stream, told)

    def _complete(self, stream: Stream, told: RunStory) -> None:
        descriptor = stream.descriptor
        if descriptor is None:
            return
        stream.inherited = frozenset(descriptor["object_keys"])
        if stream.name in self._monitored():
            stream.rolls_back = False
        if stream.rolls_back:
            stream.next_number = told.number_at(stream.name, self.point) + 1
            for uid, doc in told.descriptors.items():
                if doc["name"] == stream.name:
                    self._floors[uid] = told.numbers[stream.name]
        stream.mark = stream.next_number

    def _monitored(self) -> set[str]:
        return {str(msg.kwargs.get("name")) for msg in self._monitors.values()}

    def _listen_again(self, session: Session) -> None:
        for msg in self._monitors.values():
            run = session.runs.get(msg.run)
            options = dict(msg.kwargs)
            name = options.pop("name", None)
            if run is None:
                continue
            if name is None or run.stream(name).descriptor is None:
                raise CannotResume(
                    f"{self.story.words()}; it cannot go on: {label(msg.obj)} was monitored without a name "
                    "for its stream"
                )
            watcher = Monitor(session, run, member=Member(msg.obj), stream_name=name)
            run.monitors[id(msg.obj)] = watcher
            watcher.begin(options)

    def _restoring(self) -> PlanGenerator:
        """Bring devices to rest, then to the state that the plan had given them."""
        for obj in reversed(list(self._moved.values())):
            if callable(getattr(obj, "stop", None)):
                yield Msg("stop", obj)
        for obj in reversed(list(self._staged.values())):
            yield Msg("unstage", obj)
        for (command, _), msg in self._state.items():
            kwargs = {key: value for key, value in msg.kwargs.items() if key != "group"}
            if command == "configure":
                # Under a key without a run: its streams are described already.
                yield Msg("configure", msg.obj, *msg.args, run=OWN, **kwargs)
                continue
            yield Msg(command, msg.obj, *msg.args, group=OWN, **kwargs)
            yield Msg("wait", None, OWN)
        yield Msg("checkpoint")


def _words(step: Any) -> str:
    name = f" on {step[NAME]}" if step[NAME] else ""
    rest = "" if step[DIGEST] is None or step[DIGEST] == ANY else f" with {shown(step[DIGEST], 120)}"
    return f"'{step[COMMAND]}'{name}{rest}"
