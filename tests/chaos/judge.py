"""The verdict on a run: was it clean (nothing lost, nothing twice, in order per channel), and what was seen."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from chaos.fleet import Client


@dataclass(slots=True)
class Verdict:
    """`figures` are for the table; a run is clean when the first four are 0."""

    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    foreign: int = 0
    delivered: int = 0
    gaps: int = 0
    figures: dict[str, object] = field(default_factory=dict)

    def take(self, judged: Verdict) -> None:
        """The counts of another verdict; figures noted so far stay."""
        for name in ("lost", "doubled", "disordered", "foreign", "delivered", "gaps"):
            setattr(self, name, getattr(judged, name))

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.disordered or self.foreign)

    def __str__(self) -> str:
        parts = [f"lost {self.lost}", f"doubled {self.doubled}", f"disordered {self.disordered}"]
        parts += [f"foreign {self.foreign}"] if self.foreign else []
        parts += [f"delivered {self.delivered:,}", f"gaps told {self.gaps}"]
        return ", ".join(parts + [f"{name} {value}" for name, value in self.figures.items()])


async def everything_arrived(
    clients: Sequence[Client], due: Mapping[str, int], *, listens: Mapping[int, Iterable[str]], within: float = 30
) -> None:
    """Wait, at most so long, until every client has as many events as its channels had."""
    deadline = time.monotonic() + within
    expected = [sum(due[channel] for channel in listens[number]) for number in range(len(clients))]
    while time.monotonic() < deadline:
        if all(len(c.received.events) >= n for c, n in zip(clients, expected, strict=True)):
            return
        await asyncio.sleep(0.05)


def judge(clients: Sequence[Client], due: Mapping[str, int], listens: Mapping[int, Iterable[str]]) -> Verdict:
    """Every client against what was published on its channels since it connected."""
    verdict = Verdict()
    for number, client in enumerate(clients):
        mine = set(listens[number])
        seen: Counter[tuple[str, int]] = Counter(client.received.events)
        verdict.delivered += len(client.received.events)
        verdict.doubled += sum(times - 1 for times in seen.values())
        verdict.foreign += sum(1 for channel, _ in seen if channel not in mine)
        verdict.gaps += client.received.told["gateway.gap"]
        for channel in mine:
            sequence = [s for c, s in client.received.events if c == channel]
            verdict.lost += due[channel] - len(set(sequence))
            verdict.disordered += sum(a > b for a, b in itertools.pairwise(sequence))
    return verdict


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else 0.0


class Pulse:
    """Asks `/livez` again and again from a thread of its own: `worst` is the longest the event loop let it wait (s)."""

    def __init__(self, url: str) -> None:
        self.worst = 0.0
        self._address = urlsplit(url)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _beat(self) -> None:
        connection = http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=30)
        while not self._stop.wait(0.05):
            started = time.monotonic()
            try:
                connection.request("GET", "/livez")
                connection.getresponse().read()
            except OSError:
                connection.close()
            else:
                self.worst = max(self.worst, time.monotonic() - started)
        connection.close()
