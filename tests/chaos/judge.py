"""The verdict on a run: was it clean (nothing lost, nothing twice, in order per channel), and what was seen."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

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


def loop_lag(metrics: str) -> tuple[float, int]:
    """From a gateway's `/metrics`: a bound (s) on how late its event loop ever was, and how often over 0.25 s."""
    found = re.findall(r'gateway_event_loop_lag_seconds_bucket{le="([^"]+)"} ([0-9.]+)', metrics)
    buckets = [(float(bound), float(count)) for bound, count in found]
    total = buckets[-1][1]
    return next(bound for bound, count in buckets if count == total), round(total - dict(buckets)[0.25])
