/* event-gateway-client: one event stream for a user, over all tabs of a browser.
 *
 * A connection is a cursor: whatever ends a stream, the next one begins behind the last id that was given. One tab
 * leads (it holds a Web Lock) and has the stream; it broadcasts each block, with the cursor before it, to those that
 * follow. A tab that leads next begins at its own cursor, and the others pass over what they had; a tab that hears of
 * a cursor beyond its own has missed something, and takes the lead to get it. So no order of messages loses an event
 * or gives one twice. One file, since so it is served, copied and packaged.
 * Standard: https://html.spec.whatwg.org/multipage/server-sent-events.html
 */

const LONGEST_BACKOFF = 30_000;
const SILENT_HEARTBEATS = 2.5;
const STATE = " state"; // a space: no event's type
const CONTROL = ["gateway.gap", "gateway.expiring", "gateway.reconnect"];
const [GAP, EXPIRING] = CONTROL;

/** A function that takes bytes, cut anywhere, and calls `emit` with blocks: `{type, data, id}`, `{id}` or `{retry}`. */
export function parser(emit) {
  const decoder = new TextDecoder(); // takes the byte order mark off
  let rest = "";
  let afterCR = false;
  let type = "";
  let data = [];
  let id;

  function field(name, value) {
    if (name === "data") data.push(value);
    else if (name === "event") type = value;
    else if (name === "id" && !value.includes("\0")) id = value;
    else if (name === "retry" && /^\d+$/.test(value)) emit({ retry: +value });
  }

  function line(text) {
    const colon = text.indexOf(":");
    if (colon > 0) field(text.slice(0, colon), text.slice(colon + 1).replace(/^ /, ""));
    else if (text && colon) field(text, "");
    if (text) return;
    if (data.length) emit({ type: type || "message", data: data.join("\n"), id });
    else if (id !== undefined) emit({ id });
    type = "";
    data = [];
    id = undefined;
  }

  return (bytes) => {
    const text = decoder.decode(bytes, { stream: true });
    if (!text) return;
    const lines = (rest + (afterCR ? text.replace(/^\n/, "") : text)).split(/\r\n|\r|\n/);
    afterCR = text.endsWith("\r"); // that line has ended; a LF to come belongs to it
    rest = lines.pop();
    lines.forEach(line);
  };
}

/** Milliseconds to wait before the next attempt: "full jitter", and no less than the server asked for. */
export const backoff = (attempt, base, atLeast = 0) =>
  atLeast + Math.random() * Math.min(base * 2 ** attempt, Math.max(base, LONGEST_BACKOFF));

/** A cursor's positions: `<ms>-<seq>`, and `,<n>:<ms>-<seq>` for each other partition of a Redis Cluster. */
const positions = (cursor) =>
  Object.fromEntries(`${cursor}`.split(",").map((each) => each.split(":").reverse()).map(([id, n = "own"]) => [n, id]));

function reaches(a, b) {
  const [[ms, seq], [otherMs, otherSeq]] = [a, b].map((id) => `${id}`.split("-").map(Number));
  return ms > otherMs || (ms === otherMs && seq >= otherSeq);
}

/** Whether whoever is at cursor `a` had all that one at `b` had. What is no cursor covers itself alone. */
export const covers = (a, b) =>
  a === b || Object.entries(positions(b)).every(([n, id]) => reaches(positions(a)[n], id));

/** The cursor of who had all that `a` and `b` had. */
function joined(a, b) {
  if (a === undefined || covers(b, a)) return b;
  const both = positions(a);
  for (const [n, id] of Object.entries(positions(b))) if (!reaches(both[n], id)) both[n] = id;
  const { own, ...others } = both; // which are in the order of their numbers
  return [own, ...Object.entries(others).map((each) => each.join(":"))].join();
}

/** Milliseconds of a `Retry-After`: seconds, or a date. */
const retryAfter = (value) => Math.max(0, value * 1000 || Date.parse(value) - Date.now() || 0);

/** Who a JWT says it is for; undefined for what is none. Nothing is verified: that is for the gateway. */
function claims(token) {
  try {
    const { iss, sub, topics } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    return sub && [iss, sub, topics];
  } catch {
    return undefined;
  }
}

/** As the gateway's `types=`, of which `*` is all but what the gateway itself says. */
const fits = (pattern, type) =>
  pattern === "*"
    ? !/^( |gateway\.)/.test(type)
    : pattern === type || (pattern.endsWith(".*") && type.startsWith(pattern.slice(0, -1)));

function decoded(data) {
  try {
    return JSON.parse(data);
  } catch {
    return data;
  }
}

class Connection {
  #url;
  #options;
  #handlers = new Set();
  #life = new AbortController();
  #state = "connecting";
  #over = false;
  // Where it is: the last id that was given; the one up to which nothing is taken twice; whether the cursor is the
  // gateway's, or only the page says so, and it may lie anywhere.
  #cursor;
  #floor;
  #sure;
  // Whose it is: the token, whether to ask for another, and the claims of the first.
  #token;
  #stale = true;
  #who;
  // The tabs.
  #name;
  #channel;
  #ready = false;
  #asleep = false;
  #leads = false;
  #term = new AbortController();
  #missed = 0;
  // The stream, in the tab that leads.
  #stream;
  #heard = Infinity;
  #heartbeat;
  #retry = 3000;
  #attempt = 0;
  #timer;
  #wakeUp = () => {};

  constructor(url, { topics = [], types = [], lastEventId, heartbeat = 15, signal, ...options } = {}) {
    if (options.eventSource && (!types.length || types.some((type) => type.endsWith("*"))))
      throw new TypeError("types: name each exactly, an EventSource hears no others");
    this.#url = new URL(url, globalThis.document?.baseURI);
    for (const topic of [...topics].sort()) this.#url.searchParams.append("topic", topic);
    if (types.length) this.#url.searchParams.set("types", [...types].sort().join());
    this.#options = { shared: true, ...options, types };
    this.#cursor = lastEventId;
    this.#sure = lastEventId === undefined;
    this.#heartbeat = heartbeat * 1000;
    signal?.addEventListener("abort", () => this.close(), { signal: this.#life.signal });
    if (signal?.aborted) this.close();
    else queueMicrotask(() => this.#start()); // when whoever connects has added its handlers
  }

  get state() {
    return this.#state;
  }

  get lastEventId() {
    return this.#cursor;
  }

  get leads() {
    return this.#leads;
  }

  on(type, handler) {
    const entry = [type, handler];
    this.#handlers.add(entry);
    return () => void this.#handlers.delete(entry);
  }

  onEvent(handler) {
    return this.on("*", handler);
  }

  onGap(handler) {
    return this.on(GAP, (event) => handler(event.data));
  }

  onState(handler) {
    return this.on(STATE, handler);
  }

  close() {
    this.#end("closed");
  }

  // From the page's beginning to its end, with sleep between.

  async #start() {
    const { shared } = this.#options;
    if (this.#over) return;
    const { document, navigator, BroadcastChannel } = globalThis;
    const on = (target, type, handler) => target?.addEventListener?.(type, handler, { signal: this.#life.signal });
    on(globalThis, "online", () => setTimeout(() => this.#wake(), Math.random() * 1000));
    on(globalThis, "offline", () => this.#cut("offline"));
    on(globalThis, "pagehide", () => this.#sleep());
    on(globalThis, "pageshow", () => this.#resume());
    on(document, "freeze", () => this.#sleep());
    on(document, "resume", () => this.#resume());
    on(document, "visibilitychange", () => document.hidden || this.#wake());
    if (shared && document && navigator.locks && BroadcastChannel) {
      const of = shared === true ? await this.#whose() : shared;
      if (of) this.#name = `event-gateway ${JSON.stringify([this.#url, of])}`;
    }
    this.#ready = true;
    this.#open();
  }

  /** Only a token says whose tab this is; asked for until it is given. */
  async #whose() {
    while (!this.#over) {
      try {
        await this.#credential();
        return this.#who;
      } catch (error) {
        await this.#pause({ error });
      }
    }
  }

  #open() {
    if (!this.#ready || this.#asleep || this.#over) return;
    if (this.#name) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => this.#hear(data);
      this.#channel.postMessage({ ask: true });
    }
    this.#tick();
    this.#compete();
  }

  #sleep() {
    this.#asleep = true;
    this.#resign();
    clearTimeout(this.#timer);
    this.#channel?.close();
    this.#channel = undefined;
  }

  #resume() {
    if (!this.#asleep) return;
    this.#asleep = false;
    this.#open();
  }

  #end(state, detail) {
    if (this.#over) return;
    this.#over = true;
    this.#sleep();
    this.#life.abort();
    this.#tell(state, detail);
  }

  /** Something may have got better: try now, and in the tab that is looked at. */
  #wake() {
    this.#attempt = 0;
    if (this.#leads) {
      this.#watch();
      this.#wakeUp();
    } else if (this.#channel && this.#state !== "open" && !document.hidden) this.#compete(true);
  }

  #tick() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tick(), this.#heartbeat / 2);
    if (this.#leads) this.#watch();
    // Ticks, not time: after the device slept, whoever leads is heard of before three are over.
    else if (this.#state === "open" && ++this.#missed > 2 * SILENT_HEARTBEATS + 1) this.#compete(true);
  }

  #watch() {
    if (Date.now() - this.#heard > SILENT_HEARTBEATS * this.#heartbeat) this.#cut("silent");
  }

  // One tab leads.

  /** Lead when nobody does; with `steal`, now. */
  #compete(steal = false) {
    this.#resign();
    const term = (this.#term = new AbortController()).signal;
    this.#leads = steal; // from now on only its own stream counts
    const lead = () =>
      term.aborted ||
      new Promise((resign) => {
        term.addEventListener("abort", resign);
        this.#leads = true;
        this.#lead(term);
      });
    if (!this.#channel) return void lead();
    navigator.locks.request(this.#name, steal ? { steal } : { signal: term }, lead).catch((error) => {
      if (term.aborted) return;
      this.#sleep();
      if (error.name !== "AbortError") this.#name = undefined; // a page that may have no locks
      this.#resume(); // else another took it: follow
    });
  }

  #resign() {
    this.#leads = false;
    this.#term.abort();
    this.#cut();
    this.#wakeUp();
  }

  #post(message) {
    if (!this.#leads || !this.#channel) return;
    const common = { from: this.#floor, sure: this.#sure, beat: this.#heartbeat, hidden: document.hidden };
    this.#channel.postMessage({ ...common, ...message });
  }

  #hear({ ask, from, sure, beat, hidden, blocks = [], state }) {
    if (ask) return this.#post({ state: [this.#state, {}] });
    if (this.#leads) return;
    if (beat !== this.#heartbeat) {
      this.#heartbeat = beat;
      this.#tick();
    }
    this.#missed = 0;
    if (!this.#sure) {
      if (!sure) return; // nor is whoever leads: let it find out
      if (from !== this.#cursor) return this.#compete(true);
      this.#sure = true;
      this.#floor = from;
    }
    const had = this.#floor ?? this.#cursor;
    if (from && had && !covers(had, from)) return this.#compete(true); // this tab missed something
    if (this.#cursor === undefined) this.#cursor = this.#floor = from;
    this.#take(from, blocks);
    if (!state) return;
    const [name, detail] = state;
    if (name !== this.#state || detail.delay) this.#tell(name, detail);
    // A hidden tab's timers are slow; one that is looked at does not wait for them.
    if (detail.delay && hidden && !document.hidden) this.#compete(true);
  }

  // What is given to the handlers.

  /** Blocks of whoever leads, whose floor was `at` before them. */
  #take(at, blocks) {
    for (const { type, data, id } of blocks) {
      if (this.#over) return;
      if (type === GAP) {
        const { oldest } = JSON.parse(data);
        if (at !== this.#floor && !(this.#floor && oldest && !covers(this.#floor, oldest))) continue; // another tab's
        this.#floor = undefined; // what is kept may be older than a cursor that was none
      }
      if (id !== undefined) {
        at = id;
        if (covers(this.#floor, id)) continue; // it had that
        this.#cursor = this.#floor = joined(this.#floor, id);
      }
      if (type) this.#call(type, { type, data: decoded(data), id });
    }
  }

  #tell(state, { error, ...detail } = {}) {
    if (error) detail.error = `${error.message ?? error}`;
    this.#state = state;
    this.#sure ||= state === "open";
    this.#post({ state: [state, detail] });
    this.#call(STATE, state, detail);
  }

  #call(type, ...told) {
    for (const [pattern, handler] of [...this.#handlers]) {
      try {
        if (fits(pattern, type)) handler(...told);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }

  // One stream after the other.

  async #lead(term) {
    let refused = false;
    while (!term.aborted) {
      this.#tell("connecting");
      const { control, lived, again, ...end } = await this.#read();
      if (term.aborted) return;
      if (end.status === 204) return this.#end("away", end);
      if (lived) {
        refused = false;
        this.#attempt = 0;
      }
      if ([400, 401, 403].includes(end.status)) {
        if (refused || end.status === 400 || !this.#renewable) return this.#end("denied", end);
        refused = this.#stale = true;
      } else if (!again) await this.#pause(end);
    }
  }

  /** Until the next attempt is due, or it is woken up. */
  #pause({ after, ...detail }) {
    const delay = Math.round(backoff(this.#attempt++, this.#retry, after));
    this.#tell("connecting", { ...detail, attempt: this.#attempt, delay });
    return new Promise((done) => {
      const timer = setTimeout(done, delay);
      this.#wakeUp = () => {
        clearTimeout(timer);
        done();
      };
    });
  }

  /** One stream to its end, and how it ended: `{status, error, after, lived, again}`. */
  async #read() {
    const stream = (this.#stream = { control: new AbortController() });
    const { signal } = stream.control;
    try {
      const [url, headers] = await this.#request();
      this.#heard = Date.now();
      if (this.#options.eventSource) await this.#native(url, stream);
      else await this.#fetched(url, headers, stream);
    } catch (error) {
      stream.error = signal.aborted ? signal.reason : error;
    }
    if (this.#stream === stream) this.#heard = Infinity;
    stream.control.abort();
    return stream;
  }

  #cut(reason) {
    this.#stream?.control.abort(reason);
  }

  async #request() {
    const { ticket } = this.#options;
    const token = await this.#credential();
    const url = new URL(this.#url);
    const headers = {};
    if (ticket) url.searchParams.set("ticket", typeof ticket === "function" ? await ticket() : ticket);
    if (token) headers.Authorization = `Bearer ${token}`;
    // As a header only where the browser has to ask for permission anyway.
    if (this.#cursor && token) headers["Last-Event-ID"] = this.#cursor;
    else if (this.#cursor) url.searchParams.set("last_event_id", this.#cursor);
    return [url, headers];
  }

  async #fetched(url, headers, stream) {
    const { withCredentials, fetch = globalThis.fetch } = this.#options;
    const { signal } = stream.control;
    const credentials = withCredentials ? "include" : "same-origin";
    const response = await fetch(url, { headers, credentials, signal, cache: "no-store" });
    const header = (name) => response.headers.get(name);
    stream.status = response.status;
    stream.after = retryAfter(header("Retry-After"));
    if (stream.status !== 200)
      throw new Error((await response.json().catch(() => ({}))).detail ?? `the answer was ${stream.status}`);
    const type = header("Content-Type");
    if (!`${type}`.startsWith("text/event-stream")) throw new Error(`${type} instead of text/event-stream`);
    this.#heartbeat = header("Heartbeat-Interval") * 1000 || this.#heartbeat;
    this.#tick();
    this.#tell("open");
    await this.#follow(response.body.getReader(), stream);
  }

  async #follow(reader, stream) {
    const since = Date.now();
    let blocks;
    const feed = parser((block) => {
      if (block.retry === undefined) blocks.push(block);
      else this.#retry = Math.min(Math.max(block.retry, 50), 3_600_000);
    });
    for (let chunk; !(chunk = await reader.read()).done && !stream.control.signal.aborted; ) {
      this.#heard = Date.now();
      blocks = [];
      feed(chunk.value);
      stream.lived ||= blocks.length > 0 || this.#heard - since > 5000;
      this.#give(blocks, stream);
    }
  }

  /** It comes back by itself, until it gives up; why, it does not say, and of heartbeats it knows nothing. */
  #native(url, stream) {
    const { eventSource, withCredentials, types } = this.#options;
    const source = new (eventSource === true ? EventSource : eventSource)(`${url}`, { withCredentials });
    this.#heard = Infinity;
    return new Promise((done) => {
      stream.control.signal.addEventListener("abort", done);
      source.addEventListener("error", () => (source.readyState === 2 ? done() : this.#tell("connecting")));
      source.addEventListener("open", () => {
        stream.lived = true;
        this.#tell("open");
      });
      for (const type of [...types, ...CONTROL])
        source.addEventListener(type, ({ data, lastEventId }) => {
          const id = lastEventId && lastEventId !== this.#cursor ? lastEventId : undefined;
          this.#give([{ type, data, id }], stream);
        });
    }).finally(() => source.close());
  }

  #give(blocks, stream) {
    for (const { type, data } of blocks) if (type === EXPIRING) this.#renewWithin(decoded(data).seconds / 2, stream);
    this.#post({ blocks });
    this.#take(this.#floor, blocks);
  }

  // Who it is for.

  get #renewable() {
    return [this.#options.token, this.#options.ticket].some((given) => typeof given === "function");
  }

  /** At any moment of these seconds: tokens that were given together do not all end together. */
  #renewWithin(seconds, stream) {
    if (!this.#renewable) return;
    const timer = setTimeout(() => this.#renew(stream), Math.random() * 1000 * seconds);
    stream.control.signal.addEventListener("abort", () => clearTimeout(timer));
  }

  /** A stream with a new token instead of this one. If there is none to be had, that of the next attempt. */
  async #renew(stream) {
    this.#stale = true;
    await this.#credential().catch(() => {});
    if (this.#stale) return;
    stream.again = true;
    stream.control.abort();
  }

  async #credential() {
    const { token } = this.#options;
    if (this.#stale) this.#token = typeof token === "function" ? await token() : token;
    const who = claims(this.#token);
    this.#who ??= who;
    if (`${who?.slice(0, 2)}` !== `${this.#who?.slice(0, 2)}`) {
      this.#end("denied", { error: "the token is another user's" });
      throw new Error("closed");
    }
    this.#stale = false;
    return this.#token;
  }
}

/** See client.d.ts. */
export const connect = (url, options) => new Connection(url, options);
