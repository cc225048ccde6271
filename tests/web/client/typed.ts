// Is compiled, and never run: what the types allow, and what they don't.
import { connect, type Connection, type Gap, type State } from "event-gateway-client";

interface Events {
  "sync.done": { accounts: number };
  news: string;
}

const connection: Connection<Events> = connect<Events>("/v1/events", {
  token: async () => "…",
  topics: ["orders.eu"] as const,
  types: ["sync.*"],
  shared: "user-42",
  signal: new AbortController().signal,
});
const off: () => void = connection.on("sync.done", ({ data, id, type }) => {
  const accounts: number = data.accounts;
  const named: "sync.done" = type;
  // @ts-expect-error: an event may have no id
  const sure: string = id;
});
connection.on("sync.*", ({ data }) => data.whatever);
connection.on("gateway.expiring", ({ data }) => data.seconds);
connection.onEvent(({ type }) => {
  const known: "sync.done" | "news" = type;
});
connection.onGap((gap: Gap) => gap.oldest?.length);
connection.onState((state: State, { delay }) => state === "connecting" && delay);
// @ts-expect-error: no such type
connection.on("sync.dome", () => {});
// @ts-expect-error: it is decided by the connection
connection.state = "open";

connect(new URL("https://events.example.com/v1/events")).on("any", ({ data }) => data.at.all);
connect("/", { token: async () => {} });
connect("/", { ticket: () => "t", types: ["x"], eventSource: true });
connect("/", { types: ["x"], eventSource: EventSource, withCredentials: true });
// @ts-expect-error: a ticket is needed for each stream
connect("/", { ticket: async () => {} });
// @ts-expect-error: no such option
connect("/", { topic: "x" });
