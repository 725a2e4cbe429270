"""The directory of journals: its rules, what lies in it, and what may be thrown away."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...errors import ConfigError, InvalidArgument, shown
from .disk import JournalFile
from .errors import JournalError
from .syncer import Syncer
from .writer import CallJournal

if TYPE_CHECKING:
    from .story import CallStory

__all__ = ["ENDED", "OPEN", "Fsync", "Journal", "OnFull", "default_place", "journal_of"]

Fsync = Literal["interval", "always", "never"]
OnFull = Literal["pause", "abort", "continue"]

OPEN, ENDED = ".journal", ".ended"
"""Ends of the names of journals: being written, or left by a dead process; and complete."""

SYNC_S = 0.1
EMPTY_S = 60.0
CLEAN_S = 60.0
_POLICIES: Mapping[str, tuple[str, ...]] = {
    "fsync": ("interval", "always", "never"),
    "on_full": ("pause", "abort", "continue"),
}


def default_place() -> Path:
    """
    Choose where journals go when nobody says it.

    Returns:
        A directory below ``$XDG_STATE_HOME``, by default ``~/.local/state``.
    """
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "labspine" / "journal"


class Journal:
    """
    Keep journals in one directory, one file for each call of an engine.

    Args:
        directory: Where; it is made when the first journal is. None is the place of this user.
        fsync: ``interval`` syncs every 100 ms from a thread, ``always`` before anybody is told, ``never``
            leaves it to the system. All three keep everything when the process is killed.
        on_full: What a full disk does to the plan: ``pause`` at the next checkpoint, ``abort``, or
            ``continue`` until the reserve of 1 MB is used up.
        keep_days: How long complete journals are kept that every reader has read.
        keep_bytes: Most bytes of complete journals to keep; the oldest go first.
        readers: Names of the readers that must have read a journal before it may go.
        tag: Told in each journal; tells the journals of two labs apart that share a directory.

    Raises:
        InvalidArgument: If a policy is unknown or a limit is negative.
    """

    def __init__(
        self,
        directory: str | Path | None = None,
        *,
        fsync: Fsync = "interval",
        on_full: OnFull = "pause",
        keep_days: float = 7.0,
        keep_bytes: int = 1_000_000_000,
        readers: Iterable[str] = (),
        tag: str = "",
    ) -> None:
        for name, value in (("fsync", fsync), ("on_full", on_full)):
            if value not in _POLICIES[name]:
                raise InvalidArgument(f"{name} is {shown(value)}; use one of {', '.join(_POLICIES[name])}")
        if keep_days < 0 or keep_bytes < 0:
            raise InvalidArgument(
                "keep_days and keep_bytes cannot be negative; 0 keeps nothing that was read"
            )
        self.directory = Path(directory).expanduser() if directory is not None else default_place()
        self.on_full: OnFull = on_full
        self.readers = tuple(readers)
        self.tag = tag
        self.about: dict[str, Any] = {}
        # Called with a sentence when only the reserve of the disk is left.
        self.full_hook: Callable[[str], object] | None = None
        self.current: CallJournal | None = None
        # Names without their ends of the journals that this process began.
        self.own: set[str] = set()
        self.num_changes = 0
        self._keep_s, self._keep_bytes = keep_days * 86_400.0, keep_bytes
        self._syncer = Syncer(SYNC_S) if fsync == "interval" else None
        self._is_strict = fsync == "always"
        self._next_clean_mono_s = 0.0
        self._listeners: list[Callable[[], object]] = []

    # -- for the engine ----------------------------------------------------------------------------

    def begin(
        self, about: Mapping[str, Any], *, on_full: Callable[[str], object] | None = None
    ) -> CallJournal:
        """
        Begin to write a call down.

        Args:
            about: What is known of it; :attr:`about` is added, once.
            on_full: Called when only the reserve of the disk is left.

        Returns:
            Its journal.
        """
        more, self.about = self.about, {}
        header = {**about, **more, "readers": list(self.readers), "tag": self.tag}
        self.current = CallJournal(self, header, on_full=on_full)
        return self.current

    def create(self, uid: str) -> JournalFile:
        """
        Make the file of a call.

        Args:
            uid: Identifier of the call.

        Returns:
            The file, owned by this process.

        Raises:
            JournalError: If directory or file cannot be made.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(
                f"the directory of journals {self.directory} cannot be made: {error.strerror}; give another"
            ) from error
        if time.monotonic() >= self._next_clean_mono_s:
            self._next_clean_mono_s = time.monotonic() + CLEAN_S
            self.clean()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        millis = int(time.time() * 1000) % 1000
        file = JournalFile(self.directory / f"{stamp}-{millis:03d}-{uid[:8]}{OPEN}", is_new=True)
        self.own.add(file.path.stem)
        self.num_changes += 1
        if self._is_strict:
            _sync_directory(self.directory)
        return file

    def adopt(self, path: Path) -> tuple[CallStory, CallJournal]:
        """
        Take over the journal of a process that died; what is torn at its end is cut off.

        Args:
            path: The journal.

        Returns:
            What it tells, and the journal to go on with.

        Raises:
            JournalError: If its process lives, or it is no journal.
        """
        from .story import read_story

        file = JournalFile(path, is_new=False)
        try:
            story = read_story(path)
            file.adopt(story.size)
        except BaseException:
            file.close()
            raise
        self.num_changes += 1
        self.current = CallJournal(self, {})
        self.current.adopt(file)
        return story, self.current

    def orphans(self) -> list[Path]:
        """
        List journals whose process died.

        Returns:
            Paths, the oldest first; those without any record are removed instead.
        """
        from .reader import has_header

        found = []
        for path in self.paths(OPEN):
            try:
                file = JournalFile(path, is_new=False)
            except JournalError:
                continue  # its process lives, or it has just ended
            try:
                if has_header(path):
                    found.append(path)
                elif time.time() - path.stat().st_mtime > EMPTY_S:
                    path.unlink()
            finally:
                file.close()
        return found

    def written(self, file: JournalFile) -> None:
        """
        Treat a file that was written to by the rule for syncing.

        Args:
            file: The file.
        """
        if file.is_due:
            return
        if self._syncer is not None:
            self._syncer.mark(file)
        elif self._is_strict:
            file.sync()

    def ended(self, file: JournalFile) -> None:
        """
        Give a complete journal its final name.

        Args:
            file: The file; it is closed.
        """
        os.replace(file.path, file.path.with_suffix(ENDED))
        file.path = file.path.with_suffix(ENDED)
        if self._syncer is not None:
            self._syncer.mark(file, is_over=True)
        else:
            file.close()
        if self.current is not None and self.current.is_over:
            self.current = None
        self.tell()

    # -- for readers -------------------------------------------------------------------------------

    def watch(self, func: Callable[[], object]) -> Callable[[], None]:
        """
        Have a function called when there is something new to read; it must return at once.

        Args:
            func: Called without arguments, from any thread.

        Returns:
            A function that ends it.
        """
        self._listeners = [*self._listeners, func]

        def unwatch() -> None:
            self._listeners = [each for each in self._listeners if each is not func]

        return unwatch

    def tell(self) -> None:
        """Call those who watch."""
        for func in self._listeners:
            func()

    def note(self, what: str, **facts: Any) -> None:
        """
        Write something for readers into the journal of the call that is being performed, if there is one.

        Args:
            what: Its name.
            facts: What is to be said about it.

        Raises:
            JournalError: If it cannot be written.
        """
        current = self.current
        if current is not None:
            current.note(what, **facts)

    def paths(self, *ends: str) -> list[Path]:
        """
        List journals.

        Args:
            ends: Ends of their names; by default all.

        Returns:
            Paths, the oldest first.
        """
        wanted = ends or (OPEN, ENDED)
        try:
            found = [path for path in self.directory.iterdir() if path.suffix in wanted]
        except FileNotFoundError:
            return []
        return sorted(found, key=lambda path: path.stem)

    def clean(self) -> None:
        """Remove complete journals that everybody has read, beyond the age and the bytes to be kept."""
        from .reader import is_read

        total = 0
        now = time.time()
        for path in reversed(self.paths(ENDED)):
            try:
                facts = path.stat()
                total += facts.st_size
                if now - facts.st_mtime < self._keep_s and total <= self._keep_bytes:
                    continue
                if is_read(path):
                    path.unlink()
                    for position in self.directory.glob(f"{path.stem}.*.position"):
                        position.unlink()
            except FileNotFoundError:
                continue  # another process cleans as well

    def close(self) -> None:
        """Have everything synced and end the thread that does it."""
        if self._syncer is not None:
            self._syncer.stop()
            self._syncer = Syncer(SYNC_S)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def journal_of(setting: object) -> Journal | None:
    """
    Read the ``journal`` argument of an engine.

    Args:
        setting: None or False, True for the place of this user, a directory, or a :class:`Journal`.

    Returns:
        The journal, or None.

    Raises:
        ConfigError: If it is something else, or a file.
    """
    if setting is None or setting is False:
        return None
    if isinstance(setting, Journal):
        return setting
    if setting is True:
        return Journal()
    if not isinstance(setting, str | Path):
        raise ConfigError(f"journal must be True, a directory or a Journal; got {shown(setting)}")
    if Path(setting).is_file():
        raise ConfigError(f"journal must be a directory, and {setting} is a file; give its directory")
    return Journal(setting)
