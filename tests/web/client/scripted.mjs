// A server that answers each request with the next step of a script, and what a client made of it.
import { createServer } from "node:http";
import { connect } from "../../../gateway/web/client/client.js";

/** What a step may do: `stream(...)` leaves the answer open, `ended(...)` does not. */
export const stream = (...text) => ({ text, open: true });
export const ended = (...text) => ({ text });
export const refused = (status, headers = {}, body = "") => ({ status, headers, text: [body] });

export const block = (id, type, data) => `id: ${id}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
const FAST = "retry: 50\n\n";

/** `await served(steps, async (url, requests) => …)`; the last step is repeated for ever. */
export async function served(steps, body) {
  const requests = [];
  const server = createServer((request, response) => {
    const step = steps[Math.min(requests.length, steps.length - 1)];
    const { searchParams } = new URL(request.url, "http://x");
    requests.push({ headers: request.headers, query: Object.fromEntries(searchParams), response });
    const type = { "Content-Type": "text/event-stream" };
    response.writeHead(step.status ?? 200, { ...type, ...step.headers });
    if (!step.status) response.write(FAST);
    for (const text of step.text) response.write(text);
    if (!step.open) response.end();
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  try {
    await body(`http://127.0.0.1:${server.address().port}/v1/events`, requests);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** A connection that writes down what it hears; closed when the body ends, however it does. */
export async function connected(url, options, body) {
  const connection = connect(url, options);
  const heard = { events: [], gaps: [], states: [] };
  connection.onEvent((event) => heard.events.push(event));
  connection.onGap((gap) => heard.gaps.push(gap));
  connection.onState((state, detail) => heard.states.push({ state, ...detail }));
  try {
    await body(heard, connection);
  } finally {
    connection.close();
  }
}

/** Wait until `condition` holds; after ten seconds say what did not. */
export async function until(condition) {
  for (const deadline = Date.now() + 10_000; !condition(); await new Promise((next) => setTimeout(next, 5)))
    if (Date.now() > deadline) throw new Error(`not within 10 s: ${condition}`);
}

export const jwt = (claims) => `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.x`;
