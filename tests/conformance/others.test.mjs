// What npm's clients do by themselves: what the table of docs/subscribe.md says of them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fetchEventSource } from "@microsoft/fetch-event-source";
import { EventSource } from "eventsource";
import { createEventSource } from "eventsource-client";
import { block, ended, refused, served, stream, until } from "../web/client/scripted.mjs";

// fetch-event-source is for browsers; it needs no more of one than this.
globalThis.window = globalThis;
globalThis.document = { addEventListener() {}, removeEventListener() {} };

/** Each begins to read, and returns `{gone(), close()}`. */
const clients = {
  "eventsource": (url) => {
    const source = new EventSource(url);
    return { gone: () => source.readyState === EventSource.CLOSED, close: () => source.close() };
  },
  "eventsource-client": (url) => {
    const source = createEventSource({ url, onMessage() {} });
    return { gone: () => source.readyState === "closed", close: () => source.close() };
  },
  "fetch-event-source": (url) => {
    const stop = new AbortController();
    let over = false;
    fetchEventSource(url, { signal: stop.signal, openWhenHidden: true }).finally(() => (over = true));
    return { gone: () => over, close: () => stop.abort() };
  },
};

const event = block("1-0", "x", 1);
const cursor = ":\nid: 2-0\n\n";
for (const [name, happens, steps, expected] of [
  ["eventsource", "a clean end", [ended(event), stream()], "1-0"],
  ["eventsource", "a cursor without an event", [ended(event, cursor), stream()], "1-0"],
  ["eventsource", "401", [ended(event), refused(401)], "gone"],
  ["eventsource", "204", [ended(event), refused(204)], "gone"],
  ["eventsource-client", "a clean end", [ended(event), stream()], "1-0"],
  ["eventsource-client", "a cursor without an event", [ended(event, cursor), stream()], "1-0"],
  ["eventsource-client", "401", [refused(401)], "asks for ever"],
  ["eventsource-client", "204", [ended(event), refused(204)], "gone"],
  ["fetch-event-source", "a clean end", [ended(event)], "gone"],
  ["fetch-event-source", "401", [refused(401, { "Content-Type": "application/problem+json" })], "asks for ever"],
  ["fetch-event-source", "204", [{ ...refused(204), headers: { "Content-Type": "" } }], "asks for ever"],
])
  test(`${name}, at ${happens}: ${expected}`, async () => {
    await served(steps, async (url, requests) => {
      const client = clients[name](url);
      try {
        if (expected === "gone") {
          await until(client.gone);
          assert.equal(requests.length, steps.length);
        } else {
          await until(() => requests.length === 2);
          assert.ok(!client.gone());
          if (expected !== "asks for ever") assert.equal(requests[1].headers["last-event-id"], expected);
        }
      } finally {
        client.close();
      }
    });
  });

test("fetch-event-source keeps a cursor without an event, when it comes back", async () => {
  await served([ended(event, cursor), stream()], async (url, requests) => {
    const stop = new AbortController();
    const onclose = () => {
      throw new Error("come back");
    };
    const reading = fetchEventSource(url, { signal: stop.signal, openWhenHidden: true, onclose });
    await until(() => requests.length === 2);
    assert.equal(requests[1].headers["last-event-id"], "2-0");
    stop.abort();
    await reading;
  });
});
