// Lines over the last minutes, as SVG: some hundred points at most, drawn anew once a second.

const SVG = "http://www.w3.org/2000/svg";

function node(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function path(values, width, height, most) {
  const step = width / Math.max(values.length - 1, 1);
  return values.map((value, i) => `${i ? "L" : "M"}${(i * step).toFixed(1)} ${(height - (value / most) * height).toFixed(1)}`).join("");
}

/** A line without axes, beside a number. */
export function spark(values) {
  const most = Math.max(...values, 1);
  const line = values.length > 1 ? path(values, 160, 28, most * 1.08) : "";
  return node("svg", { viewBox: "0 0 160 28", preserveAspectRatio: "none", "aria-hidden": "true" },
    node("path", { class: "area", d: line && `${line}L160 28L0 28Z` }), node("path", { class: "line", d: line }));
}

/** A line with its scale, and what it shows for those who do not see it. */
export function chart(title, values, format) {
  const [width, height, left, top] = [440, 150, 44, 22];
  const most = nice(Math.max(...values, 1));
  const [w, x] = [width - left - 6, height - top - 16];
  const line = values.length > 1 ? path(values, w, x, most) : "";
  const now = values.length ? values[values.length - 1] : 0;
  const grid = [0, 0.5, 1].map((part) => [part, x - part * x]);
  return node("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "xMinYMid", role: "img", "aria-label": `${title}: now ${format(now)}` },
    node("text", { x: 0, y: 12 }, `${title}`),
    node("g", { transform: `translate(${left} ${top})` },
      ...grid.flatMap(([part, y]) => [
        node("line", { class: "grid", x1: 0, x2: w, y1: y, y2: y }),
        node("text", { x: -6, y: y + 4, "text-anchor": "end" }, format(part * most)),
      ]),
      node("path", { class: "area", d: line && `${line}L${w} ${x}L0 ${x}Z` }),
      node("path", { class: "line", d: line })),
    node("text", { x: width - 6, y: height - 3, "text-anchor": "end" }, "now"),
    node("text", { x: left, y: height - 3 }, `${values.length} s ago`));
}

function nice(most) {
  const size = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((step) => step * size).find((step) => step >= most);
}
