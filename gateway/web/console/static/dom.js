// Elements and numbers, for all views. Text is always set as text: nothing that an event holds becomes markup.

/** An element: `h("a.badge", {href: "#fleet"}, "text", child)`. Properties that are functions are listeners. */
export function h(spec, properties, ...children) {
  const [name, ...classes] = spec.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties || {})) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A table with these columns: `[heading, cell of a row, class]`. */
export function table(columns, rows, empty) {
  if (!rows.length) return h("div.scroll", null, h("p.empty", null, empty));
  const head = columns.map(([heading, , css]) => h(css ? `th.${css}` : "th", { scope: "col" }, heading));
  const body = rows.map((row) => h("tr", null, columns.map(([, cell, css]) => h(css ? `td.${css}` : "td", null, cell(row) ?? "–"))));
  return h("div.scroll", { tabIndex: 0 }, h("table", null, h("thead", null, h("tr", null, head)), h("tbody", null, body)));
}

export function badge(text, css) {
  return h(`span.badge.${css}`, null, text);
}

export const field = (label, input, css = "") => h(css ? `label.${css}` : "label", null, label, input);

/** Of pairs of value and text, in their order. */
export function options(pairs, chosen) {
  return pairs.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
}

const units = [["", 1], ["k", 1e3], ["M", 1e6], ["G", 1e9]];

/** 12, 3.4k, 1.2M */
export function short(number) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  const [unit, size] = units.findLast(([, least]) => Math.abs(number) >= least) || units[0];
  const value = number / size;
  return (unit || !Number.isInteger(value) ? value.toFixed(value < 10 ? 1 : 0) : `${value}`) + unit;
}

/** 12 B, 3.4 kB */
export const bytes = (number) => short(number).replace(/([\d.]+)(\D*)/, "$1 $2B");

export const whole = (number) => Math.round(number).toLocaleString("en");

export function age(seconds) {
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]])
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.max(0, Math.floor(seconds))} s`;
}

/** When an event id was given: its first part is milliseconds. */
export function when(id) {
  const ms = Number(`${id}`.split(":").pop().split("-")[0]);
  return ms ? new Date(ms).toLocaleTimeString("en-GB", { hour12: false }) + "." + `${ms % 1000}`.padStart(3, "0") : "";
}
