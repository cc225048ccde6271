"""A script: a setup and sentences, one action each. Made by hand, or from a seed; printed as it is read.

publish broadcast x3
link 1 dies silently, noticed after 2.1
wait 0.5
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable
from typing import Any

from model.setup import Setup, random_setup
from model.world import World

LOOK_EVERY = 0.5

_KINDS = {"n": (r"(\d+)", int), "s": (r"([\d.]+)", float), "w": (r"([\w:.-]+)", str)}

SENTENCES: list[tuple[re.Pattern[str], list[Callable[[str], Any]], Callable[..., Any]]] = []


def sentence(pattern: str, action: Callable[..., Any]) -> None:
    """`<n>` stands for a number, `<s>` for seconds, `<w>` for a word."""
    kinds = re.findall(r"<(\w)>", pattern)
    regex = re.sub(r"<(\w)>", lambda match: _KINDS[match[1]][0], pattern)
    SENTENCES.append((re.compile(regex), [_KINDS[kind][1] for kind in kinds], action))


sentence("publish <w>", World.publish)
sentence("publish <w> x<n>", World.publish)
sentence("publish <w> x<n> of <n> bytes", World.publish)
sentence("publish <w> with key <w>", lambda world, channel, key: world.publish(channel, key=key))
sentence("publish <w> good for <s> s", lambda world, channel, ttl: world.publish(channel, ttl=ttl))
sentence("publish <w> of type <w>", lambda world, channel, type: world.publish(channel, type=type))
sentence("publish <w> by hand", World.publish_raw)
sentence("client <n> comes to <n>", World.come)
sentence("client <n> comes anew to <n>", lambda world, client, process: world.come_anew(client, process, None))
sentence("client <n> comes to <n> claiming <w>", World.come_anew)
sentence("client <n> leaves", lambda world, client: world.leave(client, 0))
sentence("client <n> is cut, back after <s> on <n>", lambda world, c, back, p: world.leave(c, 0, back, p))
sentence("client <n> is cut, noticed after <s>, back after <s> on <n>", World.leave)
sentence("client <n> reads <w>", World.read)
sentence("client <n> is closed", World.close)
sentence("link <n> breaks", lambda world, process: world.break_link(process, 0))
sentence("link <n> dies silently, noticed after <s>", World.break_link)
sentence("network <n> is gone for <s>", World.lose_network)
sentence("process <n> restarts", World.restart)
sentence("server is down for <s>", World.stop_server)
sentence("server hangs for <s>", World.hang_server)
sentence("server fails over, losing <n>, noticed after <s>", World.fail_over)
sentence("server flushes all", lambda world: world.server.flush())
sentence("server deletes the history of <w>", lambda world, channel: world.server.delete(channel))
sentence("server trims the history of <w> to <n>", lambda world, channel, length: world.server.trim(channel, length))
sentence("server trims the journal to <n>", lambda world, length: world.server.trim_journal(length))


async def act(world: World, line: str) -> None:
    """Do what a line says."""
    if line.startswith("wait "):
        await _wait(world, float(line[5:]))
        return
    for pattern, kinds, action in SENTENCES:
        if (match := pattern.fullmatch(line)) is not None:
            done = action(world, *(kind(text) for kind, text in zip(kinds, match.groups(), strict=True)))
            if asyncio.iscoroutine(done):
                await done
            world.check()
            return
    raise ValueError(f"no sentence of the script's language: {line!r}")


async def _wait(world: World, seconds: float) -> None:
    while seconds > 0 and not world.blamed:
        await asyncio.sleep(min(seconds, LOOK_EVERY))
        seconds -= LOOK_EVERY
        world.check()


# From a seed

_CHANNELS = ("broadcast", "broadcast", "user:a", "user:a", "user:b", "user:c", "topic:x", "topic:y")


class Dice(random.Random):
    """Draws the words of sentences."""

    channel = property(lambda self: self.choice(_CHANNELS))
    process = property(lambda self: self.randint(1, 3))
    seconds = property(lambda self: round(self.choice((0.01, 0.1, 1, 4)) * self.uniform(0.1, 2), 3))
    noticed = property(lambda self: round(self.uniform(0, 3), 2))

    def pause(self) -> float:
        scale = self.choices((0, 0.003, 0.03, 0.5, 4), (40, 25, 15, 15, 5))[0]
        return round(scale * self.uniform(0.1, 2), 4)


_MADE: list[tuple[int, Callable[[Dice, int], str]]] = [
    (30, lambda d, c: f"publish {d.channel}"),
    (8, lambda d, c: f"publish {d.channel} x{d.randint(2, 8)}"),
    (3, lambda d, c: f"publish {d.channel} x{d.randint(1, 12)} of {d.choice((100, 600, 3000))} bytes"),
    (2, lambda d, c: f"publish {d.channel} with key {d.choice('kl')}"),
    (2, lambda d, c: f"publish {d.channel} good for {d.seconds} s"),
    (3, lambda d, c: f"publish {d.channel} of type u.b"),
    (3, lambda d, c: f"publish {d.channel} by hand"),
    (4, lambda d, c: f"client {c} comes to {d.process}"),
    (2, lambda d, c: f"client {c} comes anew to {d.process}"),
    (2, lambda d, c: f"client {c} comes to {d.process} claiming {d.choice(('nonsense', 'earliest', 'old', 'future'))}"),
    (1, lambda d, c: f"client {c} leaves"),
    (4, lambda d, c: f"client {c} is cut, back after {d.seconds} on {d.process}"),
    (2, lambda d, c: f"client {c} is cut, noticed after {d.noticed}, back after {d.seconds} on {d.process}"),
    (6, lambda d, c: f"client {c} reads {d.choice(('fast', 'slowly', 'nothing'))}"),
    (1, lambda d, c: f"client {c} is closed"),
    (2, lambda d, c: f"link {d.process} breaks"),
    (3, lambda d, c: f"link {d.process} dies silently, noticed after {d.noticed}"),
    (1, lambda d, c: f"network {d.process} is gone for {d.seconds}"),
    (1, lambda d, c: f"process {d.process} restarts"),
    (1, lambda d, c: f"server is down for {d.seconds}"),
    (1, lambda d, c: f"server hangs for {d.seconds}"),
    (1, lambda d, c: f"server fails over, losing {d.randint(1, 4)}, noticed after {d.noticed}"),
    (1, lambda d, c: "server flushes all"),
    (1, lambda d, c: f"server deletes the history of {d.channel}"),
    (1, lambda d, c: f"server trims the history of {d.channel} to {d.randint(1, 3)}"),
    (1, lambda d, c: f"server trims the journal to {d.randint(0, 3)}"),
]


def from_seed(seed: int) -> tuple[Setup, list[str]]:
    """The same script for the same seed, for ever."""
    setup, dice = random_setup(seed), Dice(seed)
    lines = [f"client {client} comes to {dice.process}" for client in range(setup.clients)]
    weights, makers = [weight for weight, _ in _MADE], [make for _, make in _MADE]
    for make in dice.choices(makers, weights, k=dice.randint(10, 70)):
        lines.append(make(dice, dice.randrange(setup.clients)))
        if (pause := dice.pause()) > 0:
            lines.append(f"wait {pause}")
    return setup, lines
