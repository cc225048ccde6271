// Views, keys, theme, and the key that opens the door. A view is a function that fills `main` and returns how it ends.

import { call, keepKey } from "./api.js";
import { follow } from "./state.js";
import { h } from "./dom.js";
import { channels } from "./channels.js";
import { overview } from "./fleet.js";
import { publish } from "./publish.js";
import { settings } from "./settings.js";
import { tail } from "./tail.js";
import { users } from "./users.js";

const VIEWS = { fleet: ["Fleet", overview], channels: ["Channels", channels], users: ["Users", users], tail: ["Live tail", tail], publish: ["Publish", publish], settings: ["Settings", settings] };

const view = document.getElementById("view");
let end = () => {};

function show() {
  const [name, query] = location.hash.slice(1).split("?");
  const chosen = name in VIEWS ? name : "fleet";
  end();
  view.replaceChildren();
  for (const link of document.querySelectorAll("nav a"))
    link.hash === `#${chosen}` ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  document.title = `${VIEWS[chosen][0]} · event-gateway`;
  end = VIEWS[chosen][1](view, new URLSearchParams(query)) || (() => {});
}

function askForKey(wrong) {
  const input = h("input", { type: "password", autocomplete: "off", required: true, autofocus: true });
  const said = h("p", { role: "alert" }, wrong || "");
  view.replaceChildren(
    h("h1", null, "The console's key"),
    h("p.note", null, "It is the value of GATEWAY_CONSOLE_KEY. This tab keeps it until it is closed."),
    h("form.row", { submit: (event) => { event.preventDefault(); keepKey(input.value.trim()); begin(); } },
      h("label.wide", null, "Key", input), h("button.main", null, "Open")), said);
  input.focus();
}

async function begin() {
  try {
    await call("console/api/fleet");
  } catch (error) {
    if (error.status !== 401 && error.status !== 403) return askForKey(`The gateway does not answer: ${error.message}`);
    return askForKey(sessionStorage.length ? error.message : "");
  }
  document.querySelector("nav").replaceChildren(...Object.entries(VIEWS).map(([name, [title]]) => h("a", { href: `#${name}` }, title)));
  const link = document.getElementById("link");
  follow((state) => {
    link.textContent = state === "open" ? "live" : state;
    link.className = `badge ${state === "open" ? "good" : "warn"}`;
  });
  addEventListener("hashchange", () => { show(); view.focus(); });
  show();
}

function theme() {
  const root = document.documentElement;
  root.dataset.theme = localStorage.getItem("theme") || "";
  if (!root.dataset.theme) delete root.dataset.theme;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    localStorage.setItem("theme", (root.dataset.theme = dark ? "light" : "dark"));
  });
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|TEXTAREA|SELECT/.test(event.target.tagName)) return;
  const number = Object.keys(VIEWS)[Number(event.key) - 1];
  if (number) location.hash = number;
  else if (event.key === "/") { event.preventDefault(); view.querySelector("input, select, textarea")?.focus(); }
  else if (event.key === "?") document.getElementById("help").showModal();
  else if (event.key === "p") document.getElementById("pause")?.click();
});

theme();
begin();
