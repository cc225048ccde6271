// Tokens, tickets and whose they are, against servers that believe them or don't.
import assert from "node:assert/strict";
import { test } from "node:test";
import { EventSource } from "eventsource";
import { connect } from "../../../gateway/web/client/client.js";
import { block, connected, ended, jwt, refused, served, stream, until } from "./scripted.mjs";

const bearers = (requests) => requests.map(({ headers }) => headers.authorization);
const last = (heard) => heard.states.at(-1);

/** A callback that gives one token after the other, or throws an error, and counts. */
function tokens(...each) {
  const give = async () => {
    const token = each[Math.min(give.calls++, each.length - 1)];
    if (token instanceof Error) throw token;
    return token;
  };
  give.calls = 0;
  return give;
}

test("a token that was given is used until it is refused, and then asked for once more", async () => {
  const steps = [ended(block("1-0", "x", 1)), refused(401), ended(block("2-0", "x", 2)), refused(403), stream()];
  const token = tokens("one", "two", "three");
  await served(steps, (url, requests) =>
    connected(url, { token }, async () => {
      await until(() => requests.length === 5);
      assert.deepEqual(bearers(requests), ["one", "one", "two", "two", "three"].map((t) => `Bearer ${t}`));
      assert.equal(token.calls, 3);
    }),
  );
});

test("refused with a new token too, it is denied, and says why", async () => {
  const token = tokens("one", "two");
  await served([refused(401, {}, '{"detail": "wrong audience"}')], (url, requests) =>
    connected(url, { token }, async (heard, connection) => {
      await until(() => connection.state === "denied");
      assert.deepEqual([last(heard).status, last(heard).error], [401, "wrong audience"]);
      assert.equal(requests.length, 2);
      assert.equal(token.calls, 2);
    }),
  );
});

test("a callback that fails is asked again later", async () => {
  const token = tokens("one", new Error("no network"), "two");
  await served([ended(block("1-0", "x", 1)), refused(401), stream(block("2-0", "x", 2))], (url, requests) =>
    connected(url, { token }, async (heard) => {
      await until(() => heard.events.length === 2);
      assert.ok(heard.states.some(({ error, delay }) => error === "no network" && delay >= 0));
      assert.deepEqual(bearers(requests), ["Bearer one", "Bearer one", "Bearer two"]);
    }),
  );
});

test("before its token ends, a stream is exchanged for one with a new token, at its cursor", async () => {
  const expiring = 'event: gateway.expiring\ndata: {"seconds":0.2}\n\n';
  const token = tokens(jwt({ sub: "a", exp: 1 }), jwt({ sub: "a", exp: 2 }));
  await served([stream(block("1-0", "x", 1), expiring), stream(block("2-0", "x", 2))], (url, requests) =>
    connected(url, { token }, async (heard, connection) => {
      let told = 0;
      connection.on("gateway.expiring", ({ data }) => (told = data.seconds));
      await until(() => heard.events.length === 2);
      assert.equal(requests[1].headers["last-event-id"], "1-0");
      assert.notEqual(requests[1].headers.authorization, requests[0].headers.authorization);
      await until(() => requests[0].response.destroyed);
      assert.equal(told, 0.2);
      assert.ok(!heard.states.some(({ delay }) => delay !== undefined), "it did not wait in between");
    }),
  );
});

test("a stream whose token cannot be renewed goes on to its end", async () => {
  const expiring = 'event: gateway.expiring\ndata: {"seconds":0}\n\n';
  let calls = 0;
  const token = async () => {
    if (++calls === 2) throw new Error("no network");
    return `${calls}`;
  };
  await served([stream(block("1-0", "x", 1), expiring), stream()], (url, requests) =>
    connected(url, { token }, async (heard) => {
      await until(() => calls === 2);
      requests[0].response.write(block("2-0", "x", 2));
      await until(() => heard.events.length === 2);
      requests[0].response.end();
      await until(() => requests.length === 2);
      assert.deepEqual(bearers(requests), ["Bearer 1", "Bearer 3"]);
    }),
  );
});

test("a connection is one user's: a token of another ends it", async () => {
  const token = tokens(jwt({ iss: "i", sub: "alice" }), jwt({ iss: "i", sub: "bob" }));
  await served([refused(401)], (url, requests) =>
    connected(url, { token }, async (heard, connection) => {
      await until(() => connection.state === "denied");
      assert.equal(last(heard).error, "the token is another user's");
      assert.equal(requests.length, 1);
    }),
  );
});

test("each stream has a ticket of its own", async () => {
  const ticket = tokens("t1", "t2", "t3");
  await served([ended(block("1-0", "x", 1)), refused(401), stream()], (url, requests) =>
    connected(url, { ticket }, async () => {
      await until(() => requests.length === 3);
      assert.deepEqual(requests.map(({ query }) => query.ticket), ["t1", "t2", "t3"]);
      assert.deepEqual(requests.map(({ query }) => query.last_event_id), [undefined, "1-0", "1-0"]);
      assert.deepEqual(bearers(requests), [undefined, undefined, undefined]);
    }),
  );
});

test("a callback that gives no token has renewed a cookie", async () => {
  const token = tokens(undefined);
  await served([refused(401), stream(block("1-0", "x", 1))], (url, requests) =>
    connected(url, { token, withCredentials: true }, async (heard) => {
      await until(() => heard.events.length === 1);
      assert.deepEqual(bearers(requests), [undefined, undefined]);
      assert.equal(token.calls, 2);
    }),
  );
});

test("an EventSource that gave up is followed by another, with a new ticket, at the last id", async () => {
  const ticket = tokens("t1", "t2");
  const types = ["x", "y"];
  // It comes back by itself with the ticket that was used, is refused, and closes.
  const steps = [ended(block("1-0", "x", 1)), refused(401), stream(block("2-0", "y", 2), block("3-0", "z", 3))];
  await served(steps, (url, requests) =>
    connected(url, { ticket, types, eventSource: EventSource }, async (heard, connection) => {
      await until(() => heard.events.length === 2);
      assert.deepEqual(heard.events.map(({ type, data, id }) => [type, data, id]), [["x", 1, "1-0"], ["y", 2, "2-0"]]);
      assert.deepEqual(requests.map(({ query }) => query.ticket), ["t1", "t1", "t2"]);
      assert.equal(requests[1].headers["last-event-id"], "1-0");
      assert.equal(requests[2].query.last_event_id, "1-0");
      assert.equal(connection.state, "open");
      connection.close();
      await until(() => requests[2].response.destroyed);
    }),
  );
});

test("an EventSource needs to know the types", () => {
  for (const types of [undefined, [], ["x", "y.*"]])
    assert.throws(() => connect("http://127.0.0.1:1/", { eventSource: true, types }), /^TypeError: types: name each/);
});
