"""The settings of the page: network, limits and lifetime of sessions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from relatent.core.errors import UsageError
from relatent.web.uploads import Limits
from weights.embedded import DEFAULT_NETWORK


@dataclass(frozen=True)
class Settings:
    """Settings of a page.

    Attributes:
        network: name or file of the generator.
        device: None for the best available one.
        folders: folders of further directions.
        threads: for one computation; None for half of the processor's cores, so that a quick drawing of one user has a
            core while the job of another runs.
        max_queue: largest number of waiting and running jobs; further ones are refused.
        session_minutes: time after which an unused session is deleted with its files.
        leave_seconds: the same after its tab was closed; mobile browsers may reopen a tab within this time.
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
