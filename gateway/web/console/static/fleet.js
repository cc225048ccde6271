// The fleet: sums with their last minutes, and a row for each process.

import { chart, spark } from "./charts.js";
import { age, badge, bytes, h, short, table } from "./dom.js";
import { fleet, latest, onFleet } from "./state.js";

const CARDS = [["streams", "streams"], ["delivered", "deliveries/s"], ["published", "published/s"], ["opened", "new streams/s"], ["refused", "refused/s"], ["gaps", "gaps told/s"]];

function condition(process) {
  if (process.draining) return badge("draining", "warn");
  if (process.not_ready.length) return h("span", null, badge("not ready", "bad"), " ", process.not_ready.join(", "));
  return badge("ready", "good");
}

function link(process) {
  const { scheme, health, probe_ms } = process.broker;
  if (health) return h("span.bad", null, health);
  return `${scheme}${probe_ms === null ? "" : `, ${probe_ms.toFixed(1)} ms`}`;
}

const rate = (process, name) => short(fleet.rates.get(process.name)?.[name]);

const COLUMNS = [
  ["process", (p) => h("span.mono", null, p.name), ""],
  ["condition", condition, ""],
  ["live", (p) => short(p.streams.live), "number"],
  ["behind", (p) => short(p.streams.behind), "number"],
  ["catching up", (p) => short(p.streams.catching_up), "number"],
  ["channels", (p) => short(p.channels), "number"],
  ["deliveries/s", (p) => rate(p, "delivered"), "number"],
  ["published/s", (p) => rate(p, "published"), "number"],
  ["loop lag", (p) => `${p.lag_ms.toFixed(0)} ms`, "number"],
  ["memory", (p) => bytes(p.memory), "number"],
  ["broker", link, ""],
  ["up", (p) => age(p.uptime), ""],
  ["version", (p) => p.version, ""],
];

export function overview(view) {
  const cards = h("div.cards");
  const charts = h("div.charts");
  const processes = h("div");
  const said = h("p", { role: "alert" });
  view.append(h("h1", null, "Fleet"), said, cards, charts, h("h2", null, "Processes"), processes);

  function draw() {
    said.textContent = fleet.error || "";
    cards.replaceChildren(...CARDS.map(([name, text]) =>
      h("div.card", null, h("b", null, short(latest(name))), h("span", null, text), spark((fleet.history[name] || []).slice(-60)))));
    charts.replaceChildren(
      h("div.panel", null, chart("streams", fleet.history.streams || [], short)),
      h("div.panel", null, chart("deliveries/s", fleet.history.delivered || [], short)),
      h("div.panel", null, chart("published/s", fleet.history.published || [], short)),
      h("div.panel", null, chart("event loop lag of the worst, ms", fleet.history.lag || [], short)));
    processes.replaceChildren(table(COLUMNS, fleet.processes, "No process has reported yet."));
  }
  draw();
  return onFleet(draw);
}
