// Channels: the busiest of every process, and what a channel's history holds.

import { call } from "./api.js";
import { age, field, h, table, when, whole } from "./dom.js";
import { fleet, onFleet } from "./state.js";

function busiest() {
  const streams = new Map();
  for (const process of fleet.processes)
    for (const [name, count] of process.busiest) streams.set(name, (streams.get(name) || 0) + count);
  return [...streams].sort((a, b) => b[1] - a[1]).slice(0, 50);
}

/** Where the live tail of a channel is. */
export function tailOf(channel, from = "") {
  const [kind, ...name] = channel.split(":");
  return `#tail?${new URLSearchParams({ kind, name: name.join(":"), from })}`;
}

export function channels(view, query) {
  const input = h("input", { name: "channel", placeholder: "user:42, broadcast, topic:orders", value: query.get("channel") || "" });
  const history = h("div");
  const list = h("div");
  view.append(
    h("h1", null, "Channels"),
    h("form.row", { submit: (event) => { event.preventDefault(); look(input.value.trim()); } },
      field("Channel", input, "wide"), h("button.main", null, "Show its history")),
    history, h("h2", null, "Most streams now"), list);

  async function look(channel) {
    try {
      const found = await call(`console/api/channels/${encodeURIComponent(channel)}`);
      history.replaceChildren(panel(found));
    } catch (error) {
      history.replaceChildren(h("p", { role: "alert" }, error.message));
    }
  }

  function draw() {
    if (list.contains(document.activeElement)) return; // not from under somebody's fingers
    list.replaceChildren(table([
      ["channel", ([name]) => h("span.mono", null, name), ""],
      ["streams", ([, count]) => whole(count), "number"],
      ["", ([name]) => h("button", { type: "button", click: () => { input.value = name; look(name); } }, "history"), ""],
      ["", ([name]) => h("a", { href: tailOf(name) }, "tail"), ""],
    ], busiest(), "Nobody listens to anything yet."));
  }
  draw();
  if (input.value) look(input.value);
  return onFleet(draw);
}

function panel({ channel, entries, more, oldest, newest, retention }) {
  if (!retention) return h("p.note", null, "GATEWAY_RETENTION is off: there are no histories.");
  if (!entries) return h("p.note", null, `${channel} has no history: nothing was published to it, or what was is too old.`);
  const since = (Date.now() - Number(oldest.split("-")[0])) / 1000;
  return h("div.panel", null,
    h("b.mono", null, channel),
    h("p", null, `${more ? "at least " : ""}${whole(entries)} events, the oldest ${age(since)} old (${when(oldest)}), the newest of ${when(newest)}`),
    h("p.mono", null, `${oldest} … ${newest}`),
    h("p", null, h("a", { href: tailOf(channel, "earliest") }, "Replay from the oldest"), " · ", h("a", { href: tailOf(channel) }, "Follow from now")));
}
