"""The sessions of users: latents, settings and a folder of files, all deleted at the end of the session.

Every event handler gets the `Session` of its user as the value of a `gr.State`. It holds small data; pictures go to
files made by `session.new_file`, whose names cannot be guessed. No data of a session is stored globally.
"""

from __future__ import annotations

import dataclasses
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from editing.photo_faces import PhotoFace
from inversion import Inversion
from relatent.core.errors import UsageError
from relatent.web.actions.edit import History
from relatent.web.queue import Job


class ScreenCopy:
    """The decoded screen copy of the photo that was shown last, because each move of a slider needs it."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._pixels = np.empty(0)

    def read(self, path: Path) -> np.ndarray:
        """The picture at ``path``, uint8 [H, W, 3], which must not be written to."""
        if path != self._path:
            with Image.open(path) as opened:
                pixels = np.array(opened.convert("RGB"))
            pixels.setflags(write=False)
            self._path, self._pixels = path, pixels
        return self._pixels


@dataclass(frozen=True)
class Kept:
    """One inverted face of this session.

    Attributes:
        key: random and unique over all sessions.
        label: shown to the user: the photo's name, and the face's number if there are several.
        stem: of the names of its files.
        inversion: the face.
        aligned: the inverted crop, uint8 [R, R, 3].
        photo: the photo's file in the session's folder; None if there is none.
        factor: how large the photo is on the screen, as a share of its size.
        preset: how it was inverted; empty for a latent that was uploaded.
        facts: measures and seconds, for whoever wants them.
        history: what was done to it in the Edit tab.
        at_photo: the photo's face waiting for edits, at most one.
        screen: reads the photo's screen copy; one for all faces of a session.
    """

    key: str
    label: str
    stem: str
    inversion: Inversion
    aligned: np.ndarray
    photo: Path | None = None
    factor: float = 1.0
    preset: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    history: History = field(default_factory=History)
    at_photo: list[PhotoFace] = field(default_factory=list)
    screen: ScreenCopy = field(default_factory=ScreenCopy)


class LastingWork(Protocol):
    """Work of several jobs that goes on when the browser leaves: a batch."""

    @property
    def ended(self) -> float | None:
        """When it ended, as time.monotonic; None while it is at work."""
        ...

    def cancel(self) -> None:
        """Stop at the next step."""
        ...


class Session:
    """The data of one user. After its end it is empty and can be used again.

    Attributes:
        kept: inverted faces by key, oldest first.
        current: key of the face that the Edit tab shows; empty for none.
        memory: small data of tabs, by the tab's name.
        job: its latest job.
        batch: its latest batch, which does not end when the browser leaves; None before the first.
        token: random; who has it comes back to the session after a reload.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.kept: dict[str, Kept] = {}
        self.current = ""
        self.memory: dict[str, Any] = {}
        self.job: Job[Any] | None = None
        self.batch: LastingWork | None = None
        self._screen = ScreenCopy()
        self._folder: Path | None = None
        self._uploads: set[Path] = set()
        self.token = secrets.token_urlsafe(24)
        self.used = time.monotonic()
        self.left: float | None = None

    def __deepcopy__(self, _: dict[int, Any]) -> Session:
        """A new, empty session: `gr.State` copies its initial value for every user."""
        return self._sessions.begin()

    def touch(self) -> None:
        """Mark the session as used; called by every handler (see relatent.web.errors.handler)."""
        self.used, self.left = time.monotonic(), None
        self._sessions.remember(self)

    def new_file(self, name: str) -> Path:
        """A path for a new file called ``name``, in a new folder whose name cannot be guessed."""
        folder = self.folder / secrets.token_urlsafe(24)
        folder.mkdir()
        return folder / (Path(name).name or "file")

    @property
    def folder(self) -> Path:
        """The folder of its files; created on first use."""
        if self._folder is None:
            self._folder = self._sessions.folder / secrets.token_urlsafe(24)
            self._folder.mkdir(parents=True, mode=0o700)
        self._sessions.remember(self)
        return self._folder

    def take_upload(self, path: Path) -> Path:
        """Copy an uploaded file into the session's folder. The original is deleted at the end of the session.

        It is not deleted at once, because another user may have uploaded the same file, which has the same path.
        """
        if path.is_relative_to(self.folder):
            return path
        copy = self.new_file(path.name)
        shutil.copyfile(path, copy)
        if path.is_relative_to(self._sessions.folder):
            self._uploads.add(path)
        return copy

    def keep(self, inversion: Inversion, aligned: np.ndarray, stem: str, **more: Any) -> Kept:
        """Store an inverted face and make it the current one; beyond the limit, the oldest is deleted.

        Args:
            inversion: the face.
            aligned: the inverted crop, uint8 [R, R, 3].
            stem: of the names of its files.
            **more: further fields of :class:`Kept`; ``label`` is the stem by default.
        """
        label = str(more.pop("label", stem))
        taken = {one.label for one in self.kept.values()}
        number, unique = 1, label
        while unique in taken:
            number += 1
            unique = f"{label} ({number})"
        key, screen = secrets.token_hex(8), self._screen
        one = Kept(key, unique, stem, inversion, aligned, screen=screen, **more)
        self.kept[one.key] = one
        self.current = one.key
        while len(self.kept) > self._sessions.most_kept:
            del self.kept[next(iter(self.kept))]
        return one

    def refine(self, key: str, inversion: Inversion, **more: Any) -> Kept:
        """Replace the latent of a stored face by a better one of the same crop; its edits stay.

        Raises:
            UsageError: it is no longer stored.
        """
        one = dataclasses.replace(self.chosen(key), inversion=inversion, at_photo=[], **more)
        self.kept[key] = one
        return one

    def beside(self, one: Kept) -> list[Kept]:
        """The other faces of its photo that have edits, oldest first."""
        return [
            other
            for other in self.kept.values()
            if other.key != one.key and one.photo is not None and other.photo == one.photo
            and not other.history.now.nothing
        ]  # fmt: skip

    def chosen(self, key: str | None = None) -> Kept:
        """The face with that key, by default the current one.

        Raises:
            UsageError: there is none: no face was inverted, or the session has ended.
        """
        one = self.kept.get(key or self.current)
        if one is None:
            minutes = self._sessions.minutes
            raise UsageError(
                "there is no face yet, or this visit has ended: what is not used for "
                f"{minutes:g} minutes is deleted. Choose a photo first."
            )
        return one

    def cancel(self) -> None:
        """Cancel the session's job, or its batch."""
        if self.batch is not None:
            self.batch.cancel()
        if self.job is not None:
            self.job.cancel()

    def leave(self) -> None:
        """Called when the browser tab was closed or reloaded: cancels the job, unless it is a batch's.

        The session ends soon unless it is used again.
        """
        if self.batch is None or self.batch.ended is not None:
            self.cancel()
        self.left = time.monotonic()

    def end(self) -> None:
        """Delete all data and files."""
        self.cancel()
        self.kept, self.current, self.memory, self.job, self.batch = {}, "", {}, None, None
        self._screen = ScreenCopy()
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        for path in self._uploads:
            shutil.rmtree(path.parent, ignore_errors=True)  # Gradio creates a folder named by hash for each upload
        self._uploads = set()


class Sessions:
    """All sessions of a running page; ends those that are no longer used.

    Args:
        folder: of the sessions' files.
        minutes: after which an unused session ends.
        leave_seconds: after which a session ends whose browser tab was closed.
        most_kept: largest number of inverted faces in a session.
    """

    def __init__(self, folder: Path, minutes: float, leave_seconds: float, most_kept: int) -> None:
        self.folder, self.minutes, self.leave_seconds, self.most_kept = folder, minutes, leave_seconds, most_kept
        self._open: set[Session] = set()
        self._of_hash: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._sweeper: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._open)

    def begin(self) -> Session:
        """A new session; it is registered when it is first used."""
        return Session(self)

    def remember(self, session: Session) -> None:
        """Register a session, so that it is ended when it times out."""
        with self._lock:
            self._open.add(session)
            if self._sweeper is None:
                self._sweeper = threading.Thread(target=self._sweep_for_ever, name="relatent-sessions", daemon=True)
                self._sweeper.start()

    def again(self, token: str | None) -> Session | None:
        """The session with that token, if it lives."""
        with self._lock:
            return next((one for one in self._open if token and secrets.compare_digest(one.token, str(token))), None)

    def arrive(self, session: Session, session_hash: str) -> None:
        """Assign a session to a browser tab, identified by Gradio's session hash."""
        session.touch()
        with self._lock:
            self._of_hash[session_hash] = session

    def leave(self, session_hash: str) -> None:
        """Called when the browser tab was closed."""
        with self._lock:
            session = self._of_hash.pop(session_hash, None)
            elsewhere = session in self._of_hash.values()  # a reload arrives before the old tab has left
        if session is not None and not elsewhere:
            session.leave()

    def sweep(self, now: float | None = None) -> int:
        """End all sessions that have timed out; returns their number. ``now`` is in seconds, as time.monotonic."""
        now = time.monotonic() if now is None else now
        with self._lock:
            over = {session for session in self._open if self._is_over(session, now)}
            self._open -= over
            self._of_hash = {key: session for key, session in self._of_hash.items() if session not in over}
        for session in over:
            session.end()
        return len(over)

    def end_all(self) -> None:
        """End all sessions, for example when the page is closed."""
        with self._lock:
            sessions, self._open, self._of_hash = self._open, set(), {}
        for session in sessions:
            session.end()

    def _is_over(self, session: Session, now: float) -> bool:
        left, batch = session.left, session.batch
        if batch is not None and batch.ended is None:
            return left is not None and now - left > self.minutes * 60  # nobody comes back for it
        if session.job is not None and not session.job.finished:
            return False
        if left is not None and batch is not None and batch.ended is not None:
            left = max(left, batch.ended)  # time to fetch its results
        gone = left is not None and now - left > self.leave_seconds
        return gone or now - session.used > self.minutes * 60

    def _sweep_for_ever(self) -> None:
        while True:
            time.sleep(min(10.0, self.minutes * 15, max(self.leave_seconds / 4, 0.2)))
            self.sweep()
