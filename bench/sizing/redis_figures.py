"""What a call, an event, an announcement, a probe and a history read cost Redis."""

from __future__ import annotations

from gateway.broker.redis.wire import encode
from gateway.frames import chunk, event_frame
from gateway.ids import EventId

from .measuring import DATA, PREFIX, Server, envelope

DIRECT = [f"user:user-{n}" for n in range(10_000)]


def overheads() -> dict[str, float]:
    """Bytes around the data, on the way to the client and from Redis; a channel's name and RESP included."""
    id = EventId(1764000000000, 0)
    told = b'{"id":"%s","previous":"%s",' % (str(id).encode(), str(id).encode())
    message = encode("message", f"{PREFIX}:user:{'1' * 36}", told + envelope()[1:])
    frame = chunk(event_frame("sync.accounts.completed", b"x" * DATA, id=id))
    return {"frame_bytes": len(frame) - DATA, "announcement_bytes": len(message) - DATA}


def redis_figures(server: Server) -> dict[str, float]:
    """What a call, an event, an announcement, a probe and a history read cost Redis."""
    single = [server.publish([DIRECT[n * 37 % 10_000]]) for n in range(400)]
    sixteen = [server.publish([DIRECT[(n * 16 + i) * 37 % 10_000] for i in range(16)]) for n in range(100)]
    one, many = server.cost(single, 32), server.cost(sixteen, 32)
    event = (many - one) / 15
    broadcast = [server.publish(["broadcast"])]
    alone, heard = server.cost(broadcast, 1), server.cost(broadcast, 1, listeners=50)
    announcement = (heard - alone) / 50
    server.client.flushall()
    keys = [f"{PREFIX}:journal", f"{PREFIX}:epoch"]
    probe = server.cost([server.call("probe", keys, [f"{PREFIX}:probe:x"])], 32)  # a Redis with many is never asleep
    for name in ("user:1", "broadcast"):
        keys += [f"{PREFIX}:history:{name}", f"{PREFIX}:last:{name}"]
    reads = []
    for length in (100, 20_000):
        with server.client.pipeline(transaction=False) as pipe:
            for _ in range(length - int(server.client.xlen(keys[0]))):
                pipe.xadd(keys[0], {"c": "user:1"})
            pipe.execute()
        tip = str(server.client.xrevrange(keys[0], count=1)[0][0].decode())  # type: ignore[index, union-attr]
        reads.append(server.cost([server.call("read", keys, [tip, 100, 3600_000, 262_144, 7200_000])], 32))
    server.client.flushall()
    before = server.memory()
    for start in range(0, 200_000, 100):
        names = [DIRECT[n % 10_000] for n in range(start, start + 100)]
        with server.connect() as sock:
            sock.sendall(server.publish(names))
            sock.recv(65536)
    stored = (server.memory() - before) / 200_000 - DATA
    server.client.flushall()
    return {
        "redis_call_us": one - event,
        "redis_event_us": event,
        "redis_announcement_us": announcement,
        "redis_process_us": probe * 1.5 + announcement,  # the script, a PING half as dear, and the echo
        "redis_resume_entry_us": max(0.0, (reads[1] - reads[0]) / 19_900),
        "redis_stored_bytes": stored,
    }
