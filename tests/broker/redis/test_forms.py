"""Every form of a single Redis that a URL can name: TLS, users with few rights, a Unix socket; and what is wrong."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from broker.listening import publish
from broker.redis.processes import ALICE, idle, running
from certificates import Authority, TlsFront
from redis.asyncio import Redis
from servers import HOST, ROOT, RedisServer, until
from structlog.typing import EventDict

from gateway.broker.redis.examine import Unfit, examined
from gateway.broker.redis.partitions import Partition
from gateway.broker.redis.registry import RedisRegistry
from gateway.broker.redis.routes import route
from gateway.broker.redis.urls import NO_FILES, Files
from gateway.broker.registry import Verdict
from gateway.ids import START


async def works(url: str, prefix: str, files: Files = NO_FILES) -> None:
    """Publishing, hearing and reading."""
    async with running(url, prefix, files=files) as (broker, heard):
        await broker.subscribe(ALICE)
        await publish(broker, ALICE, 1)
        await heard.hears(1)
        assert [entry.data for entry in (await broker.read([ALICE], START, 10)).entries] == [b"1"]
        assert broker.health() is None


async def fails(url: str, *says: str, files: Files = NO_FILES) -> None:
    """The process waits, and tells why and what to do."""
    async with running(url, "p", files=files, up=False) as (broker, heard):
        try:
            await until(lambda: all(word in (broker.health() or "") for word in says), what=f"{says} in its health")
        except AssertionError as error:
            raise AssertionError(f"{error}: {broker.health()}") from None
        assert heard.restored == 0


async def test_over_tls(redis_url: str, prefix: str, tmp_path: Path) -> None:
    """The server's certificate is checked against the CA, ours is shown, and the words go both ways."""
    authority = Authority(tmp_path)
    ca, ours = str(authority.certificate), str(authority.issue("gateway"))
    port = int(redis_url.rpartition(":")[2])
    async with TlsFront(port, authority.issue("redis"), clients=authority.certificate) as front:
        await works(f"rediss://{HOST}:{front.port}", prefix, Files(ca, ours))


async def test_tls_that_cannot_be(redis_url: str, tmp_path: Path) -> None:
    """Not trusted, for another name, not TLS at all: each says which, and names the setting."""
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "another CA")
    trusted = Files(str(authority.certificate))
    port = int(redis_url.rpartition(":")[2])
    async with TlsFront(port, authority.issue("redis"), clients=authority.certificate) as front:
        url = f"rediss://{HOST}:{front.port}"
        await fails(url, "not trusted", "GATEWAY_REDIS_CA_FILE", files=Files(str(stranger.certificate)))
        await fails(url.replace("rediss", "redis"), "rediss://")
    async with TlsFront(port, authority.issue("elsewhere", address=None)) as front:
        await fails(f"rediss://{HOST}:{front.port}", "not trusted", "IP address mismatch", files=trusted)
    await fails(f"rediss://{HOST}:{port}", "TLS", "redis://", files=trusted)


async def test_over_a_unix_socket(prefix: str) -> None:
    """`unix://`, with a password."""
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/redis.sock"
        async with RedisServer(unixsocket=path, requirepass="secret"):
            await works(f"unix://:secret@{path}", prefix)


def rules() -> list[str]:
    """The ACL rules of the operator's guide, as they stand there."""
    guide = (ROOT / "docs" / "redis.md").read_text()
    return guide.partition("ACL SETUSER gateway")[2].partition("```")[0].replace("\\\n", " ").split()


async def test_a_user_with_only_the_rights_of_the_guide() -> None:
    """What docs/redis.md grants is enough for the broker and the registry, and nothing is missed."""
    async with RedisServer() as server, Redis.from_url(server.url) as admin:
        granted = [">secret" if word.startswith(">") else word for word in rules()]
        await admin.execute_command("ACL SETUSER", "gateway", *granted)  # type: ignore[no-untyped-call]
        url = server.url.replace("redis://", "redis://gateway:secret@")
        await works(url, "sse")
        async with running(url, "sse") as (broker, heard):
            await broker.touched(await broker.tip(), 10)
            assert broker.warnings() == []
            await until(lambda: heard.marks, what="a probe comes back")
            assert await broker.subscriptions(await admin.client_id()) == 0
        registry = RedisRegistry([Partition(route(url), "sse")])
        await registry.start(lambda user_id: None)
        await until(lambda: registry.health() is None)
        assert await registry.enter("alice") is Verdict.ADMITTED
        await registry.issue("alice", "digest", b"holder")
        assert await registry.holder("digest") == b"holder"
        assert await registry.send_away("alice", 1) == 1
        registry.leave("alice")
        await registry.close()
        denied = await admin.execute_command("ACL LOG")  # type: ignore[no-untyped-call]
        assert denied == []


async def test_a_user_without_the_rights() -> None:
    """Which right is missing stands in the reason, and where to look for the others."""
    async with RedisServer() as server, Redis.from_url(server.url) as admin:
        await admin.execute_command("ACL SETUSER", "gateway", "on", ">secret", "~*", "&*", "+@connection", "+info")  # type: ignore[no-untyped-call]
        url = server.url.replace("redis://", "redis://gateway:secret@")
        await fails(url, "NOPERM", "subscribe", "docs/redis.md")


async def test_a_wrong_password_names_the_setting() -> None:
    """A password that the server does not know, or that it does not want."""
    async with RedisServer(requirepass="secret") as server:
        await fails(server.url.replace("redis://", "redis://:wrong@"), "WRONGPASS", "GATEWAY_BROKER_URL")
        await fails(server.url, "NOAUTH", "GATEWAY_BROKER_URL")


async def test_a_server_that_throws_histories_away(logs: list[EventDict]) -> None:
    """Eviction is a warning that names the setting and the remedy; the process works all the same."""
    async with (
        RedisServer(maxmemory="100mb", maxmemory_policy="volatile-ttl") as server,
        running(server.url) as (broker, heard),
        idle(server.url) as other,
    ):
        (warning,) = broker.warnings()
        assert "maxmemory-policy volatile-ttl" in warning
        assert "set maxmemory-policy noeviction" in warning
        assert [line["detail"] for line in logs if line["event"] == "broker.warning"] == [warning]
        await broker.subscribe(ALICE)
        await publish(other, ALICE, 1)
        await heard.hears(1)
        async with Redis.from_url(server.url) as admin:
            await admin.config_set("maxmemory-policy", "noeviction")
            await broker.examine()
        assert broker.warnings() == []


@pytest.mark.parametrize(
    ("info", "cluster", "says"),
    [
        ({"redis_version": "6.0.16", "redis_mode": "standalone"}, False, "6.2 is the oldest"),
        ({"redis_version": "5.0.14"}, False, "Redis 5.0.14 is too old"),
        ({"redis_version": "7.2.4", "redis_mode": "sentinel"}, False, r"redis\+sentinel://"),
        ({"redis_version": "7.2.4", "redis_mode": "cluster"}, False, r"redis\+cluster://"),
        ({"redis_version": "7.2.4", "redis_mode": "standalone"}, True, r"redis://"),
        ({"redis_version": "6.2.14", "redis_mode": "cluster"}, True, r"7.0 is the oldest"),
    ],
)
def test_a_server_that_cannot_be_worked_with(info: dict[str, object], cluster: bool, says: str) -> None:
    """Too old, a sentinel, a node of a cluster or none: each says what to do instead."""
    with pytest.raises(Unfit, match=says):
        examined(info, cluster=cluster)


@pytest.mark.parametrize(
    "info", [{}, {"redis_version": "6.2.0", "maxmemory": 0, "maxmemory_policy": "allkeys-lru"}, {"redis_version": "?"}]
)
def test_what_is_not_told_is_not_judged(info: dict[str, object]) -> None:
    """A server that only speaks the protocol, and one that has no limit to evict at, get no warning."""
    assert examined(info) == []


async def test_a_node_of_a_cluster_is_told_from_a_server() -> None:
    """A node that says it is one of a cluster is refused with what to do."""
    async with RedisServer(cluster_enabled="yes") as server:
        await fails(server.url, "redis+cluster://", "GATEWAY_BROKER_URL")
