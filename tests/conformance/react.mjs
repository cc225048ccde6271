// The hooks of docs/subscribe.md, in a file that is named by the argument, over a real client and a scripted server.
import assert from "node:assert/strict";
import { createElement, useState } from "react";
import { act, create } from "react-test-renderer";
import { connected, refused, served, stream, until, block } from "../web/client/scripted.mjs";

globalThis.IS_REACT_ACT_ENVIRONMENT = true;
const { useEvents, useEventsState } = await import(process.argv[2]);

let renders = 0;
function Basket({ events, factor }) {
  const [count, setCount] = useState(0);
  useEvents(events, "basket.*", ({ data }) => setCount(data * factor));
  renders++;
  return `${count} ${useEventsState(events)}`;
}

/** Until the component shows it, letting React do its work between looks. */
const shows = (rendered, text) => until(() => (act(() => {}), rendered.toJSON() === text));

await served([stream(block("1-0", "basket.count", 3)), refused(204)], (url, requests) =>
  connected(url, {}, async (heard, events) => {
    let rendered;
    act(() => (rendered = create(createElement(Basket, { events, factor: 1 }))));
    assert.equal(rendered.toJSON(), "0 connecting");
    await shows(rendered, "3 open");
    act(() => rendered.update(createElement(Basket, { events, factor: 10 }))); // the handler is another one now
    requests[0].response.write(block("2-0", "basket.count", 4));
    await shows(rendered, "40 open");
    requests[0].response.end();
    await shows(rendered, "40 away");
    act(() => rendered.unmount());
    const before = renders;
    events.close();
    assert.equal(renders, before);
  }),
);

await served([stream()], (url, requests) =>
  connected(url, {}, async (heard, events) => {
    let rendered;
    act(() => (rendered = create(createElement(Basket, { events, factor: 1 }))));
    await shows(rendered, "0 open");
    act(() => rendered.unmount());
    const before = renders;
    requests[0].response.write(block("1-0", "basket.count", 5));
    await until(() => heard.events.length === 1);
    assert.equal(renders, before, "a component that is gone hears nothing");
  }),
);
