// What the fleet says of itself, once a second, and the minutes before: counters to rates, reports to sums.

import { call, stream } from "./api.js";

const KEPT = 240;
const QUIET = 4000;

/** `processes` as they last reported; `rates` by name; `history` of the sums. */
export const fleet = { processes: [], rates: new Map(), history: {}, error: null, at: 0 };

const listeners = new Set();
const before = new Map();

export function onFleet(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const COUNTED = ["opened", "refused", "published", "received", "delivered", "bytes", "gaps"];

function rate(process) {
  const last = before.get(process.name);
  before.set(process.name, process);
  if (!last || process.at <= last.at) return fleet.rates.get(process.name) || Object.fromEntries(COUNTED.map((name) => [name, 0]));
  const seconds = (process.at - last.at) / 1000;
  return Object.fromEntries(COUNTED.map((name) => [name, Math.max(0, process.counters[name] - last.counters[name]) / seconds]));
}

function take({ processes, error }) {
  fleet.processes = processes.sort((a, b) => a.name.localeCompare(b.name));
  fleet.rates = new Map(processes.map((process) => [process.name, rate(process)]));
  for (const name of before.keys()) if (!fleet.rates.has(name)) before.delete(name);
  fleet.error = error;
  fleet.at = performance.now();
  keep("streams", sum((process) => process.streams.live + process.streams.behind + process.streams.catching_up));
  for (const name of COUNTED) keep(name, sum((process) => fleet.rates.get(process.name)[name]));
  keep("lag", Math.max(0, ...processes.map((process) => process.lag_ms)));
  for (const listener of listeners) listener();
}

const sum = (of) => fleet.processes.reduce((total, process) => total + of(process), 0);

function keep(name, value) {
  const values = (fleet.history[name] ||= []);
  values.push(value);
  if (values.length > KEPT) values.shift();
}

export const latest = (name) => fleet.history[name]?.at(-1) ?? 0;

/** Follow the fleet by a stream; while that is silent (its broker may be away), by asking. */
export function follow(onState) {
  const connection = stream({ fleet: "1" }, { types: ["console.fleet"] });
  connection.on("console.fleet", ({ data }) => take(data));
  connection.onState((state) => onState(state));
  setInterval(async () => {
    if (performance.now() - fleet.at < QUIET) return;
    try {
      take(await call("console/api/fleet"));
    } catch (error) {
      fleet.error = error.message;
      for (const listener of listeners) listener();
    }
  }, 2000);
}
