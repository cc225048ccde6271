// The live tail of a user, a topic or everybody: as a client of theirs would see it, from now or from an id.
//
// Events are kept in a list, and only the newest are drawn, a few times a second: a thousand events a second cost the
// page as much as ten.

import { field, h, options, short, when } from "./dom.js";
import { stream } from "./api.js";

const KEPT = 2000;
const DRAWN = 200;
const DRAW_EVERY = 150;

const KINDS = [["user", "a user"], ["topic", "a topic"], ["broadcast", "everybody"]];

export function tail(view, query) {
  const kind = h("select", { name: "kind", change: fit }, options(KINDS, query.get("kind") || "user"));
  const name = h("input", { name: "name", value: query.get("name") || "", placeholder: "alice" });
  const types = h("input", { name: "types", value: query.get("types") || "", placeholder: "all, or sync.*,orders.paid" });
  const from = h("input", { name: "from", value: query.get("from") || "", placeholder: "now, earliest, or an event id" });
  const filter = h("input", { type: "search", placeholder: "text in type or data", input: () => draw(true) });
  const start = h("button.main", null, "Follow");
  const pause = h("button", { type: "button", id: "pause", click: () => { paused = !paused; pause.textContent = paused ? "Go on" : "Pause"; draw(true); } }, "Pause");
  const clear = h("button", { type: "button", click: () => { events = []; draw(true); } }, "Clear");
  const said = h("p", { role: "status" });
  const list = h("div.tail", { tabIndex: 0, role: "log", "aria-live": "off" });
  let events = [];
  let seen = 0;
  let paused = false;
  let changed = false;
  let state = "";
  let connection = null;
  let rate = 0;
  let before = [performance.now(), 0];
  view.append(
    h("h1", null, "Live tail"),
    h("form.row", { submit: (event) => { event.preventDefault(); follow(); } },
      field("Of", kind), field("Name", name, "wide"), field("Types", types), field("From", from), start),
    h("form.row", { submit: (event) => event.preventDefault() }, field("Filter", filter, "wide"), pause, clear), said, list);

  function fit() {
    name.disabled = kind.value === "broadcast";
  }

  function follow() {
    connection?.close();
    [events, seen, rate, before] = [[], 0, 0, [performance.now(), 0]];
    const parameters = kind.value === "broadcast" ? { broadcast: "1" } : { [kind.value]: name.value.trim() };
    const wanted = types.value.split(",").map((type) => type.trim()).filter(Boolean);
    const lastEventId = from.value.trim() === "now" ? undefined : from.value.trim() || undefined;
    connection = stream(parameters, { types: wanted, lastEventId });
    connection.onEvent(take);
    connection.onGap((gap) => take({ type: "gateway.gap", data: gap }));
    connection.onState((now, detail) => { state = detail?.error || now; changed = true; });
    changed = true;
  }

  function take({ type, data, id }) {
    seen++;
    changed = true;
    if (paused) return;
    events.push({ type, id, at: Date.now(), text: JSON.stringify(data) });
    if (events.length > 2 * KEPT) events = events.slice(-KEPT);
  }

  function draw(now) {
    const at = performance.now();
    if (at - before[0] >= 1000) {
      rate = ((seen - before[1]) * 1000) / (at - before[0]);
      before = [at, seen];
      changed ||= rate > 0;
    }
    if (!changed && now !== true) return;
    changed = false;
    said.textContent = connection ? `${state || "connecting"} · ${short(seen)} events, ${short(rate)} a second${paused ? " · paused: what comes now is counted, not shown" : ""}` : "Nothing is followed yet.";
    if (paused && now !== true) return;
    if (list.querySelector("details[open]") && now !== true) return; // somebody reads
    const text = filter.value.toLowerCase();
    const shown = text ? events.filter((event) => `${event.type} ${event.text}`.toLowerCase().includes(text)) : events;
    list.replaceChildren(...shown.slice(-DRAWN).reverse().map(row));
    if (!shown.length) list.append(h("p.empty", null, connection ? "Nothing has come yet." : "Choose whose events to follow."));
  }

  const timer = setInterval(draw, DRAW_EVERY);
  fit();
  if (query.has("kind")) follow();
  draw(true);
  return () => { clearInterval(timer); connection?.close(); };
}

function row({ type, id, at, text }) {
  const time = id ? when(id) : new Date(at).toLocaleTimeString("en-GB", { hour12: false });
  const details = h("details", null, h("summary", null,
    h("span.mono", { title: id || "no id: it is not kept" }, time),
    h(type.startsWith("gateway.") ? "b.control" : "b", null, type),
    h("span.mono", null, text)));
  details.addEventListener("toggle", () => details.append(h("pre", null, `${id ? `id: ${id}\n` : ""}${JSON.stringify(JSON.parse(text), null, 2)}`)), { once: true });
  return details;
}
