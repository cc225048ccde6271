// One user: streams over all processes, where each stands, and the way out for them.

import { call } from "./api.js";
import { age, badge, bytes, field, h, options, table } from "./dom.js";
import { tailOf } from "./channels.js";
import { fleet, onFleet } from "./state.js";

const RENEW = 4000;
const AWAY = [["", "no: may come back at once"], ["60", "for a minute"], ["600", "for ten minutes"], ["3600", "for an hour"], ["86400", "for a day"]];
const CONDITION = { live: "good", behind: "warn", catching_up: "warn", closed: "bad" };

export function users(view, query) {
  const input = h("input", { name: "user", placeholder: "42", value: query.get("id") || "", autocomplete: "off" });
  const away = h("select", null, options(AWAY));
  const out = h("button.danger", { type: "button", disabled: true, click: disconnect }, "Disconnect");
  const said = h("p", { role: "alert" });
  const total = h("p");
  const list = h("div");
  let user = "";
  view.append(
    h("h1", null, "Users"),
    h("form.row", { submit: (event) => { event.preventDefault(); location.hash = `users?id=${encodeURIComponent(input.value.trim())}`; } },
      field("User id", input, "wide"), h("button.main", null, "Show"), field("Keep away", away), out),
    said, total, list);

  async function watch() {
    if (!user) return;
    try {
      const { connections } = await call(`console/api/watch?user=${encodeURIComponent(user)}`, { method: "POST" });
      total.replaceChildren(`${connections} ${connections === 1 ? "stream" : "streams"} over all processes. `, h("a", { href: tailOf(`user:${user}`) }, "Live tail"));
      said.textContent = "";
    } catch (error) {
      said.textContent = error.message;
    }
  }

  async function disconnect() {
    const seconds = away.value;
    if (!confirm(`End all streams of ${user}${seconds ? `, and keep ${user} away ${new Map(AWAY).get(seconds)}` : ""}?`)) return;
    try {
      const path = `v1/users/${encodeURIComponent(user)}/connections${seconds ? `?for=${seconds}` : ""}`;
      const { connections } = await call(path, { method: "DELETE" });
      said.textContent = `${connections} ended.`;
      await watch();
    } catch (error) {
      said.textContent = error.message;
    }
  }

  function draw() {
    if (!user) return list.replaceChildren(h("p.note", null, "Give a user id to see that user's streams: how old they are, where their cursors stand, what waits in their sockets."));
    const rows = fleet.processes.flatMap((process) => (process.users[user] || []).map((stream) => ({ process: process.name, ...stream })));
    list.replaceChildren(table([
      ["process", (row) => h("span.mono", null, row.process), ""],
      ["state", (row) => badge(row.state.replace("_", " "), CONDITION[row.state]), ""],
      ["age", (row) => age(row.seconds), "number"],
      ["cursor", (row) => row.cursor, "mono"],
      ["waiting in its socket", (row) => bytes(row.waiting), "number"],
      ["silent for", (row) => age(row.silent), "number"],
      ["also hears", (row) => row.topics.join(" ") || "–", "mono"],
      ["types", (row) => row.types.join(" ") || "all", "mono"],
    ], rows, "No streams, or none that a process has told of yet."));
  }

  if (input.value) {
    user = input.value;
    out.disabled = false;
    watch();
  } else input.focus();
  draw();
  const timer = setInterval(watch, RENEW);
  const stop = onFleet(draw);
  return () => { clearInterval(timer); stop(); };
}
