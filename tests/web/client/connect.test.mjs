// One tab's connection, against servers that answer as gateways, proxies and mistakes do.
import assert from "node:assert/strict";
import { test } from "node:test";
import { backoff, connect, covers } from "../../../gateway/web/client/client.js";
import { block, connected, ended, refused, served, stream, until } from "./scripted.mjs";

const data = (heard) => heard.events.map((event) => event.data);
const last = (heard) => heard.states.at(-1);

test("the wait before an attempt is anywhere up to a bound that doubles, and no less than was asked for", () => {
  for (const [attempt, base, atLeast, most] of [
    [0, 3000, 0, 3000],
    [1, 3000, 0, 6000],
    [3, 3000, 0, 24_000],
    [9, 3000, 0, 30_000],
    [2000, 3000, 0, 30_000],
    [0, 60_000, 0, 60_000],
    [5, 60_000, 0, 60_000],
    [0, 3000, 5000, 8000],
  ]) {
    const waits = Array.from({ length: 2000 }, () => backoff(attempt, base, atLeast));
    assert.ok(Math.min(...waits) >= atLeast && Math.max(...waits) <= most);
    assert.ok(Math.max(...waits) - Math.min(...waits) > (most - atLeast) * 0.9, "it is spread over all of it");
  }
});

test("a cursor covers those before it, by milliseconds, then by number, in every partition", () => {
  for (const [a, b, expected] of [
    ["2-0", "1-0", true],
    ["10-0", "9-9", true],
    ["1-10", "1-9", true],
    ["1-0", "1-0", true],
    ["1-0", "2-0", false],
    ["1-9", "1-10", false],
    ["5-0,3:2-0", "4-0,3:2-0", true],
    ["5-0,3:2-0", "4-0,3:2-1", false],
    ["5-0,3:2-0", "6-0,3:1-0", false],
    ["5-0,3:2-0,7:1-0", "4-0,3:2-0", true],
    ["5-0", "4-0,3:1-0", false],
    ["1-0", undefined, false],
    [undefined, "1-0", false],
    ["earliest", "1-0", false],
    ["1-0", "earliest", false],
    ["earliest", "earliest", true],
  ])
    assert.equal(covers(a, b), expected, `${a} covers ${b}`);
});

test("of partitions, each is passed over as far as it was had", async () => {
  const first = [block("5-0,3:2-0", "x", 1), block("5-0,3:3-0", "x", 2)];
  const again = [block("4-0,3:4-0", "x", 3), block("5-0,3:4-0", "x", 1), block("6-0,3:4-0", "x", 4)];
  await served([ended(...first), stream(...again)], (url) =>
    connected(url, {}, async (heard, connection) => {
      await until(() => heard.events.length === 4);
      assert.deepEqual(data(heard), [1, 2, 3, 4]);
      assert.equal(connection.lastEventId, "6-0,3:4-0");
      assert.equal(heard.events[2].id, "4-0,3:4-0");
    }),
  );
});

test("events are decoded, in order, each with its id, and go to those who asked for their type", async () => {
  const steps = [stream(block("1-0", "sync.done", { n: 1 }), "event: other\ndata: no JSON\n\n", ": a comment\n\n")];
  await served(steps, (url) =>
    connected(url, {}, async (heard, connection) => {
      const told = { "sync.*": 0, "sync.done": 0, "sync.": 0, other: 0, "gateway.*": 0 };
      for (const type of Object.keys(told)) connection.on(type, () => told[type]++);
      connection.on("other", () => told.removed++)();
      await until(() => heard.events.length === 2);
      assert.deepEqual(heard.events[0], { type: "sync.done", data: { n: 1 }, id: "1-0" });
      assert.deepEqual(heard.events[1], { type: "other", data: "no JSON", id: undefined });
      assert.deepEqual(told, { "sync.*": 1, "sync.done": 1, "sync.": 0, other: 1, "gateway.*": 0 });
      assert.equal(connection.lastEventId, "1-0");
    }),
  );
});

test("what a handler throws is reported, and keeps nothing from the others", async (context) => {
  const report = context.mock.method(console, "error", () => {});
  await served([stream(block("1-0", "x", 1), block("2-0", "x", 2))], (url) =>
    connected(url, {}, async (heard, connection) => {
      connection.on("x", () => {
        throw new Error("of a handler");
      });
      const more = [];
      connection.on("x", (event) => more.push(event.data));
      await until(() => more.length === 2);
      assert.equal(report.mock.callCount(), 2);
      assert.equal(report.mock.calls[0].arguments[0].message, "of a handler");
    }),
  );
});

test("after a clean end it comes back with the last id, that of a heartbeat too", async () => {
  const steps = [ended(block("1-0", "x", 1)), ended(":\nid: 5-0\n\n"), stream(block("6-0", "x", 2))];
  await served(steps, (url, requests) =>
    connected(url, { topics: ["b", "a"], types: ["x", "y.*"] }, async (heard) => {
      await until(() => heard.events.length === 2);
      assert.deepEqual(data(heard), [1, 2]);
      assert.deepEqual(requests.map(({ query }) => query.last_event_id), [undefined, "1-0", "5-0"]);
      assert.equal(new URL(requests[0].response.req.url, url).search, "?topic=a&topic=b&types=x%2Cy.*");
      assert.ok(requests.every(({ headers }) => !("last-event-id" in headers)));
    }),
  );
});

test("with a token the cursor is a header, as the token is", async () => {
  await served([ended(block("1-0", "x", 1)), stream()], (url, requests) =>
    connected(url, { token: "secret" }, async () => {
      await until(() => requests.length === 2);
      assert.equal(requests[1].headers.authorization, "Bearer secret");
      assert.equal(requests[1].headers["last-event-id"], "1-0");
      assert.equal(requests[1].query.last_event_id, undefined);
    }),
  );
});

test("it begins where it is told to, and may replay from the beginning", async () => {
  await served([ended(block("1-0", "x", 1)), stream()], (url, requests) =>
    connected(url, { lastEventId: "earliest" }, async (heard) => {
      await until(() => requests.length === 2);
      assert.deepEqual(requests.map(({ query }) => query.last_event_id), ["earliest", "1-0"]);
      assert.deepEqual(data(heard), [1]);
    }),
  );
});

test("what comes a second time is passed over, until a gap says that ids may begin anew", async () => {
  const again = [block("5-0", "x", 5), block("4-9", "x", 4), "event: x\ndata: 0\n\n", block("6-0", "x", 6)];
  const gap = 'event: gateway.gap\ndata: {"requested":"6-0","oldest":"2-0"}\n\n';
  await served([ended(block("5-0", "x", 5)), stream(...again, gap, block("2-0", "x", 2), block("6-0", "x", 7))], (url) =>
    connected(url, {}, async (heard, connection) => {
      await until(() => connection.lastEventId === "6-0" && heard.gaps.length);
      assert.deepEqual(data(heard), [5, 0, 6, 2, 7]);
      assert.deepEqual(heard.gaps, [{ requested: "6-0", oldest: "2-0" }]);
    }),
  );
});

for (const [status, headers, body, expected] of [
  [204, {}, "", { state: "away", status: 204, error: "the answer was 204" }],
  [400, {}, '{"detail": "topic: no such name"}', { state: "denied", status: 400, error: "topic: no such name" }],
  [401, {}, '{"detail": "expired"}', { state: "denied", status: 401, error: "expired" }],
  [403, {}, "not JSON", { state: "denied", status: 403, error: "the answer was 403" }],
])
  test(`${status} is for good`, async () => {
    await served([refused(status, headers, body)], (url, requests) =>
      connected(url, {}, async (heard, connection) => {
        await until(() => last(heard)?.state !== "connecting" && heard.states.length > 1);
        const { after, ...told } = last(heard);
        assert.deepEqual(told, expected);
        assert.equal(connection.state, expected.state);
        assert.equal(requests.length, 1);
      }),
    );
  });

for (const [step, { least = 0, ...expected }] of [
  [refused(503, { "Retry-After": "7" }), { status: 503, least: 7000 }],
  [refused(429, { "Retry-After": new Date(Date.now() + 60_000).toUTCString() }), { status: 429, least: 50_000 }],
  [refused(500), { status: 500 }],
  [refused(404), { status: 404 }],
  [{ headers: { "Content-Type": "text/html" }, text: ["<html>"], open: true }, { error: "text/html instead of text/event-stream" }],
])
  test(`it waits and tries again after ${expected.error ?? expected.status}`, async () => {
    await served([step], (url) =>
      connected(url, {}, async (heard) => {
        await until(() => heard.states.some(({ delay }) => delay !== undefined));
        const told = heard.states.find(({ delay }) => delay !== undefined);
        assert.ok(told.delay >= least && told.delay <= least + 13_000, `${told.delay}`);
        for (const [name, value] of Object.entries(expected)) assert.equal(told[name], value);
      }),
    );
  });

test("a server that only ever says when to retry is asked less and less often", async () => {
  await served([ended()], (url) =>
    connected(url, {}, async (heard) => {
      await until(() => heard.states.filter(({ delay }) => delay !== undefined).length === 4);
      assert.deepEqual(heard.states.flatMap(({ attempt }) => attempt ?? []), [1, 2, 3, 4]);
    }),
  );
});

test("a server that is not there is tried until it is", async () => {
  const gone = { 1: true, 2: true };
  await served([ended(block("1-0", "x", 1)), stream(block("2-0", "x", 2))], (url) => {
    let times = 0;
    const flaky = (...request) => (gone[times++] ? fetch("http://127.0.0.1:1/") : fetch(...request));
    return connected(url, { fetch: flaky }, async (heard) => {
      await until(() => heard.events.length === 2);
      assert.deepEqual(heard.states.flatMap(({ error }) => error ?? []), ["fetch failed", "fetch failed"]);
    });
  });
});

test("a stream that falls silent for two and a half heartbeats is given up", async () => {
  const silent = { headers: { "Heartbeat-Interval": "0.1" }, text: [block("1-0", "x", 1)], open: true };
  await served([silent, stream(block("2-0", "x", 2))], (url) =>
    connected(url, {}, async (heard) => {
      await until(() => heard.events.length === 2);
      assert.ok(heard.states.some(({ error }) => error === "silent"));
      assert.deepEqual(data(heard), [1, 2]);
    }),
  );
});

test("an answer that never comes is given up too", async () => {
  const fetch = (url, { signal }) =>
    new Promise((_, fail) => signal.addEventListener("abort", () => fail(signal.reason)));
  await connected("http://127.0.0.1:1/", { fetch, heartbeat: 0.1 }, async (heard) => {
    await until(() => heard.states.some(({ error }) => error === "silent"));
  });
});

test("it ends with close, and with its AbortSignal, and nothing is told after", async () => {
  const steps = [stream(block("1-0", "x", 1), block("2-0", "x", 2))];
  const stop = new AbortController();
  for (const end of [(connection) => connection.close(), () => stop.abort()])
    await served(steps, (url, requests) =>
      connected(url, { signal: stop.signal }, async (heard, connection) => {
        connection.on("x", () => end(connection));
        await until(() => connection.state === "closed" && requests[0].response.destroyed);
        assert.deepEqual(data(heard), [1]);
        assert.equal(connection.lastEventId, "1-0");
        assert.equal(last(heard).state, "closed");
      }),
    );
  assert.equal(connect("http://127.0.0.1:1/", { signal: stop.signal }).state, "closed");
});

test("a node program ends when it has closed its connection", async () => {
  await served([stream(block("1-0", "x", 1))], async (url) => {
    const { execFile } = await import("node:child_process");
    const client = new URL("../../../gateway/web/client/client.js", import.meta.url);
    const program = `import { connect } from "${client}"; const c = connect("${url}"); c.onEvent(() => c.close());`;
    await new Promise((done, fail) =>
      execFile(process.execPath, ["--input-type=module", "-e", program], { timeout: 10_000 }, (error) =>
        error ? fail(error) : done(),
      ),
    );
  });
});
