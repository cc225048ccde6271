"""Other servers for the same work, set up as alike as they can be: see "Peers" in bench/README.md.

Each module has `build()`, which fetches and compiles what is missing, and `run(connections)`,
which starts the server and yields its `Target`. A peer that this machine cannot have raises
`Missing`, and the benchmark goes on without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from harness import Target

from . import centrifugo, mercure, nchan
from .common import Missing, say

__all__ = ["PEERS", "Missing", "Peer", "built"]


@dataclass(frozen=True, slots=True)
class Peer:
    """How one of them is built and run.

    `run` takes the number of connections to come, and whether each has a channel of its own (`user-%d`).
    """

    build: Callable[[], None]
    run: Callable[[int, bool], AbstractContextManager[Target]]


PEERS = {
    "nchan": Peer(nchan.build, nchan.run),
    "mercure": Peer(mercure.build, mercure.run),
    "centrifugo": Peer(centrifugo.build, centrifugo.run),
}


def built(names: Iterable[str]) -> list[str]:
    """Those of them that the machine can have; a line on stderr for each of the others."""
    found = []
    for name in names:
        try:
            PEERS[name].build()
            found.append(name)
        except Missing as missing:
            say(f"{name} is left out: {missing}")
    return found
