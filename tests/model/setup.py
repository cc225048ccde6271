"""The sizes of a world, small ones: a limit is only tested where it is reached."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that a script does not do; `seed` is for the delays."""

    seed: int = 0
    processes: int = 2
    clients: int = 3
    retention: bool = True
    max_events: int = 30
    ttl: float = 600
    journal: int = 1000
    page_bytes: int = 100_000
    tail_bytes: int = 40_000
    max_buffer: int = 4_000
    join_window: float = 0.002
    page: int = 10
    heal_page: int = 50
    held_bytes: int = 100_000
    linger: float = 1
    send_timeout: float = 8
    heartbeat: float = 6

    def __str__(self) -> str:
        """Only what is not as usual."""
        changed = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default]
        return f"Setup({', '.join(changed)})"


def random_setup(seed: int) -> Setup:
    dice = random.Random(f"setup {seed}")
    return Setup(
        seed=seed,
        processes=dice.choice((1, 1, 2, 2, 3)),
        clients=dice.randint(1, 4),
        retention=dice.random() > 0.04,
        max_events=dice.choice((2, 5, 30, 30)),
        ttl=dice.choice((3, 30, 600)),
        journal=dice.choice((4, 20, 1000, 1000)),
        page_bytes=dice.choice((100, 100_000)),
        tail_bytes=dice.choice((600, 1500, 6000, 40_000)),
        max_buffer=dice.choice((1000, 4000)),
        join_window=dice.choice((0.002, 0.2)),
        page=dice.choice((1, 2, 5, 20)),
        heal_page=dice.choice((2, 50)),
        held_bytes=dice.choice((1000, 100_000)),
    )
