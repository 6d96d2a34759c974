"""What whoever runs the page decides: the network, the limits, how long a session is remembered."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from relatent.core.errors import UsageError
from relatent.web.uploads import Limits
from weights.embedded import DEFAULT_NETWORK


@dataclass(frozen=True)
class Settings:
    """Choices for one running page.

    Attributes:
        network: name or file of the generator.
        device: None for the best there is.
        folders: folders of further directions.
        threads: that one drawing may use; None for half of the processor's cores, so that a quick drawing of one
            visitor has a core beside the long work of another.
        max_queue: how many jobs may wait or run at once; one more is refused.
        session_minutes: a session that nobody has used for so long is forgotten, its files deleted.
        leave_seconds: the same after its tab was closed; a telephone that looks away comes back within this.
        limits: of uploads.
    """

    network: str = DEFAULT_NETWORK
    device: str | None = None
    folders: tuple[Path, ...] = ()
    threads: int | None = None
    max_queue: int = 16
    session_minutes: float = 60.0
    leave_seconds: float = 120.0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.max_queue < 1:
            raise UsageError(f"max_queue is {self.max_queue}; expected at least 1, the job at work.")
        if self.session_minutes <= 0 or self.leave_seconds < 0:
            raise UsageError(f"a session of {self.session_minutes} minutes cannot be meant; expected more than 0.")
