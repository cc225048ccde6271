// Publish an event, and the same in the words of a shell, of Python and of JavaScript.

import { address, call } from "./api.js";
import { field, h, options } from "./dom.js";
import { tailOf } from "./channels.js";

const KINDS = [["user", "a user"], ["topic", "a topic"], ["broadcast", "everybody"]];

export function publish(view) {
  const kind = h("select", { change: draw }, options(KINDS));
  const name = h("input", { value: "alice", input: draw });
  const type = h("input", { value: "greeting", input: draw });
  const data = h("textarea", { spellcheck: false, input: draw }, '{\n  "text": "hello"\n}');
  const key = h("input", { placeholder: "none", input: draw });
  const ttl = h("input", { type: "number", min: 1, placeholder: "none", input: draw });
  const once = h("input", { placeholder: "none", input: draw });
  const said = h("p", { role: "alert" });
  const done = h("p", { role: "status" });
  const send = h("button.main", null, "Publish");
  const lines = h("div");
  view.append(h("h1", null, "Publish"),
    h("div.two", null,
      h("form", { submit: (event) => { event.preventDefault(); post(); } },
        h("div.row", null, field("To", kind), field("Name", name, "wide"), field("Event type", type, "wide")),
        field("Data (JSON)", data),
        h("div.row", null, field("Key (of the same, only the newest is replayed)", key, "wide"), field("Seconds it is worth replaying", ttl, "wide"), field("Idempotency-Key", once, "wide")),
        h("p", null, send), said, done),
      h("div", null, h("h2", null, "The same, from elsewhere"), lines)));

  function path() {
    const part = encodeURIComponent(name.value.trim());
    return { user: `v1/users/${part}/events`, topic: `v1/topics/${part}/events`, broadcast: "v1/broadcast" }[kind.value];
  }

  function event() {
    const made = { event_type: type.value.trim(), data: JSON.parse(data.value) };
    if (key.value.trim()) made.key = key.value.trim();
    if (ttl.value) made.ttl = Number(ttl.value);
    return made;
  }

  async function post() {
    said.textContent = done.textContent = "";
    try {
      const headers = once.value.trim() ? { "Idempotency-Key": once.value.trim() } : {};
      const { id, receivers } = await call(path(), { method: "POST", body: JSON.stringify(event()), headers });
      const channel = kind.value === "broadcast" ? "broadcast" : `${kind.value}:${name.value.trim()}`;
      const heard = receivers ? `${receivers} ${receivers === 1 ? "process" : "processes"} had somebody listening` : "nobody is listening now";
      done.replaceChildren(`Taken as ${id ?? "an event without an id"}: ${heard}. `, h("a", { href: tailOf(channel, "earliest") }, "See it"));
    } catch (error) {
      said.textContent = error.message;
    }
  }

  function draw() {
    name.disabled = kind.value === "broadcast";
    let made;
    try {
      made = event();
      data.setCustomValidity("");
    } catch (error) {
      data.setCustomValidity(`Not JSON: ${error.message}`);
      said.textContent = `Data is not JSON: ${error.message}`;
      return;
    }
    said.textContent = "";
    lines.replaceChildren(...Object.entries(inOtherWords(path(), made, once.value.trim(), kind.value, name.value.trim())).map(snippet));
  }
  draw();
}

function snippet([title, text]) {
  const button = h("button", { type: "button", click: async () => { await navigator.clipboard.writeText(text); button.textContent = "copied"; } }, "copy");
  return h("div.snippet", null, h("b", null, title), h("pre", null, text), button);
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function inOtherWords(path, made, once, kind, name) {
  const url = `${address()}/${path}`;
  const json = JSON.stringify(made);
  const header = once ? ` \\\n  -H ${quoted(`Idempotency-Key: ${once}`)}` : "";
  const call = { user: `publish_to_user(${JSON.stringify(name)}, event)`, topic: null, broadcast: "broadcast(event)" }[kind];
  const words = {
    curl: `curl ${quoted(url)} \\\n  -H "Authorization: Bearer $GATEWAY_PUBLISHER_KEY" \\\n  -H 'Content-Type: application/json'${header} \\\n  -d ${quoted(json)}`,
    JavaScript: `await fetch(${JSON.stringify(url)}, {\n  method: "POST",\n  headers: { Authorization: \`Bearer \${process.env.GATEWAY_PUBLISHER_KEY}\`, "Content-Type": "application/json"${once ? `, "Idempotency-Key": ${JSON.stringify(once)}` : ""} },\n  body: JSON.stringify(${json}),\n});`,
  };
  if (call) words.Python = `from gateway.client import SSEEvent, get_sse_publisher\n\npublisher = get_sse_publisher()  # GATEWAY_PUBLISHER_URL=${address()}\nevent = SSEEvent(${python(made, once)})\nawait publisher.${call}`;
  return words;
}

function python(made, once) {
  const { event_type, data, ...rest } = made;
  if (once) rest.id = once;
  const words = [`event_type=${JSON.stringify(event_type)}`, `data=${literal(data)}`];
  return [...words, ...Object.entries(rest).map(([name, value]) => `${name}=${literal(value)}`)].join(", ");
}

function literal(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${literal(item)}`).join(", ")}}`;
  return JSON.stringify(value);
}
