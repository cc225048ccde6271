"""What every scenario stands on: a Redis that survives a crash, gateways, a fleet of clients and a load."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import jwt
from cable import Cable
from chaos.fleet import Client
from chaos.judge import Verdict, everything_arrived, judge, loop_lag
from chaos.load import Load
from clusters import RedisCluster
from proxy import Proxy
from sentinels import Service
from servers import GatewayProcess, RedisServer


@dataclass(slots=True)
class Stage:
    """`listens` says which channels each client is on, by its number."""

    redis: RedisServer
    gateways: list[GatewayProcess]
    publish_key: str
    secret: str
    settings: dict[str, str]
    proxy: Proxy | None
    cable: Cable | None
    started: list[GatewayProcess] = field(default_factory=list)
    publish_to: list[GatewayProcess] | None = None
    clients: list[Client] = field(default_factory=list)
    listens: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def any_gateway(self) -> str:
        return random.choice(self.gateways).url

    def any_publishing_gateway(self) -> str:
        return random.choice(self.publish_to or self.gateways).url

    def token(self, user: str) -> str:
        return jwt.encode({"sub": user, "exp": time.time() + 3600, "topics": ["*"]}, self.secret, algorithm="HS256")

    def client(self, user: str, *topics: str) -> Client:
        path = "/v1/events?" + "&".join(f"topic={topic}" for topic in topics)
        client = Client(self.any_gateway, path, self.token(user))
        self.listens[len(self.clients)] = (f"user:{user}", "broadcast", *(f"topic:{topic}" for topic in topics))
        self.clients.append(client)
        return client

    def users(self, count: int) -> list[str]:
        """So many clients, each a user of its own; returns the channels."""
        for number in range(count):
            self.client(f"u{number}")
        return [f"user:u{number}" for number in range(count)]

    def load(self, channels: list[str], *, rate: float, size: int = 0, lanes: int = 1) -> Load:
        return Load(self.any_publishing_gateway, self.publish_key, channels, rate=rate, size=size, lanes=lanes)

    def swallow(self) -> None:
        """From now on nothing gets through between the gateways and Redis, and nobody is told."""
        if self.cable is not None:
            self.cable.pull()
        else:
            assert self.proxy is not None
            self.proxy.black_hole()

    async def pass_on(self) -> None:
        if self.cable is not None:
            self.cable.plug_in()
        else:
            assert self.proxy is not None
            await self.proxy.pass_on()

    def delivered(self) -> int:
        """Events that the clients were given so far."""
        return sum(len(client.received.events) for client in self.clients)

    async def verdict(self, load: Load, *, within: float = 30) -> Verdict:
        """Once everything arrived, or did not in time."""
        await everything_arrived(self.clients, load.published, listens=self.listens, within=within)
        return judge(self.clients, load.published, self.listens)

    async def loop_lag(self) -> str:
        """How late the event loops of the gateways still running ever were."""
        worst, often = 0.0, 0
        async with aiohttp.ClientSession() as session:
            for gateway in self.started:
                if gateway.running:
                    async with session.get(gateway.url + "/metrics") as response:
                        bound, over = loop_lag(await response.text())
                        worst, often = max(worst, bound), often + over
        return f"≤ {worst:g} s ({often} × over 0.25)"

    def errors(self) -> list[str]:
        """Lines of the gateways' logs that should not be there."""
        bad = ('"level": "error"', "Traceback", '"level": "critical"')
        return [line for gateway in self.started for line in gateway.log.splitlines() if any(b in line for b in bad)]


@asynccontextmanager
async def stage(
    *,
    gateways: int = 1,
    through_proxy: bool = False,
    over_cable: bool = False,
    settings: Mapping[str, str] | None = None,
    service: Service | None = None,
    cluster: RedisCluster | None = None,
    **redis: str,
) -> AsyncIterator[Stage]:
    """Started in order, ended in reverse. `through_proxy`, `over_cable`: the gateways' way to Redis can be broken.

    With a `service` or a `cluster`, its first master is the stage's Redis, for as long as it is master.
    """
    options = {"appendonly": "yes", "appendfsync": "always"} | redis
    async with AsyncExitStack() as stack:
        cable = stack.enter_context(Cable()) if over_cable else None
        if service is not None:
            server = service.servers[0]
        elif cluster is not None:
            server = cluster.masters[0]
        else:
            server = await stack.enter_async_context(RedisServer(cable, **options))
        proxy = await stack.enter_async_context(Proxy(server.port)) if through_proxy else None
        secret, key = secrets.token_hex(32), secrets.token_hex(16)
        env = {
            "GATEWAY_BROKER_URL": (proxy or service or cluster or server).url,
            "GATEWAY_JWT_SECRET": secret,
            "GATEWAY_PUBLISH_KEYS": key,
            "GATEWAY_RETRY_MS": "500",
            "GATEWAY_RETENTION_MAX_EVENTS": "100000",
            **(settings or {}),
        }
        running = [GatewayProcess(env) for _ in range(gateways)]
        for gateway in running:
            await gateway.start()
        stage_ = Stage(server, running, key, secret, env, proxy, cable, list(running))
        try:
            yield stage_
        finally:
            for gateway in stage_.started:
                await gateway.__aexit__(None, None, None)
