// The gateway as the console sees it: its key, its answers, its streams.

import { connect } from "../client.js";

const BASE = new URL("..", import.meta.url).href;
const KEY = "event-gateway console key";

export const key = () => sessionStorage.getItem(KEY) || undefined;
export const keepKey = (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY));

export class Refused extends Error {
  constructor(status, problem) {
    super([problem.field, problem.detail || problem.title].filter(Boolean).join(" "));
    this.status = status;
  }
}

/** An answer's JSON. Raises `Refused` with what the gateway says is wrong. */
export async function call(path, { method = "GET", body, headers = {} } = {}) {
  if (key()) headers = { ...headers, Authorization: `Bearer ${key()}` };
  if (body !== undefined) headers = { ...headers, "Content-Type": "application/json" };
  const response = await fetch(BASE + path, { method, headers, body });
  const text = await response.text();
  const answer = text && /json/.test(response.headers.get("Content-Type")) ? JSON.parse(text) : {};
  if (!response.ok) throw new Refused(response.status, { title: `${response.status} ${response.statusText}`, ...answer });
  return answer;
}

/** A stream of events: by the same client, and the same gateway, as anybody's. */
export function stream(parameters, options = {}) {
  const query = new URLSearchParams(parameters);
  return connect(`${BASE}console/api/events?${query}`, { token: key, shared: false, ...options });
}

/** The address for others to use, in the lines that are shown. */
export const address = () => BASE.replace(/\/$/, "");
