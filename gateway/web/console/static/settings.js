// The settings in force in the process that answers; secrets are hidden by the gateway, not by this page.

import { call } from "./api.js";
import { field, h, table } from "./dom.js";

export function settings(view) {
  const filter = h("input", { type: "search", placeholder: "retention", input: draw });
  const list = h("div");
  let rows = [];
  view.append(h("h1", null, "Settings"),
    h("p.note", null, "Of the process that answered. What is bold is not the default. To change one, set its environment variable and restart; publish keys in a file are read again on SIGHUP."),
    h("form.row", { submit: (event) => event.preventDefault() }, field("Filter", filter, "wide")), list);

  function draw() {
    const text = filter.value.toLowerCase();
    const shown = rows.filter((row) => `${row.name} ${row.help}`.toLowerCase().includes(text));
    list.replaceChildren(table([
      ["setting", (row) => h("span.mono", null, row.name), ""],
      ["value", (row) => h(row.changed ? "b" : "span", null, show(row)), "mono"],
      ["default", (row) => show({ ...row, value: row.default }), "mono"],
      ["what it is", (row) => row.help, ""],
    ], shown, "No such setting."));
  }

  call("console/api/settings").then(({ settings }) => { rows = settings; draw(); }, (error) => list.replaceChildren(h("p", { role: "alert" }, error.message)));
}

const show = ({ value, unit }) =>
  value === null || value === "" || (Array.isArray(value) && !value.length) ? "unset" : `${Array.isArray(value) ? value.join(", ") : value === true ? "on" : value === false ? "off" : value}${unit ? ` ${unit}` : ""}`;
