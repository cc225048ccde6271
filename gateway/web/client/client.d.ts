/** What an event is, as the handlers get it. */
export interface GatewayEvent<Type extends string = string, Data = any> {
  type: Type;
  /** Decoded from JSON. (What a raw Redis `PUBLISH` sent and is no JSON is the text as it came.) */
  data: Data;
  /** Its own id; without one it cannot be replayed, and is given at most once. */
  id?: string;
}

/**
 * `connecting`  at it, or waiting until it is due to try again (then with `delay`)
 * `open`        events arrive
 * `denied`      for good: no such topic, or the token was refused, and a new one too
 * `away`        for good: the user was told to stay away (204)
 * `closed`      for good: by `close()` or the signal
 */
export type State = "connecting" | "open" | "denied" | "away" | "closed";

export interface StateDetail {
  /** The HTTP status of the answer, where there was one. */
  status?: number;
  /** What went wrong, in words for a developer. */
  error?: string;
  /** How many attempts in a row have failed. */
  attempt?: number;
  /** Milliseconds until the next attempt. */
  delay?: number;
}

/** Something may have been missed: fetch your state anew. */
export interface Gap {
  requested: string;
  /** The oldest id that is kept; what is kept follows. */
  oldest: string | null;
}

type Given<Value> = Value | (() => Value | Promise<Value>);

export interface Options {
  /**
   * A JWT, sent as `Authorization: Bearer`, or a function that gets one: called at first, when one was refused, and
   * half a minute before one ends. What it throws means "try later". Without a value no header is sent: it may as well
   * renew a cookie.
   */
  token?: Given<string | null | undefined | void>;
  /** A one-time ticket (`POST /v1/tickets`), or a function that gets one: called for each stream. */
  ticket?: Given<string>;
  /** Send cookies to a gateway on another origin. */
  withCredentials?: boolean;
  topics?: readonly string[];
  /** Only events of these types, exact or `prefix.*`; all without it. */
  types?: readonly string[];
  /** Begin behind this id; `earliest` replays all that is kept. */
  lastEventId?: string;
  /**
   * One stream for all tabs of the browser that have the same address, topics, types and user. The user is read from
   * the JWT; where there is none (a cookie, a ticket), say who it is here, by a string that no other user has, or each
   * tab has its own stream. `false` for that in any case.
   */
  shared?: boolean | string;
  /** Ends the connection, as `close()` does. */
  signal?: AbortSignal;
  /** Seconds between heartbeats, where a proxy keeps the header `Heartbeat-Interval` to itself. 15 without it. */
  heartbeat?: number;
  /** Used instead of the global one: where that one cannot stream (React Native), or to wrap it. */
  fetch?: typeof fetch;
  /**
   * Use an EventSource (`true`: the global one) and no fetch. It takes cookies and tickets, no token; hears only the
   * types named, exactly, in `types`; knows no heartbeats, and no status.
   */
  eventSource?: boolean | (new (url: string, init?: { withCredentials?: boolean }) => EventTarget & { readyState: number; close(): void });
}

/** `Events` maps event types to the types of their data. */
export interface Connection<Events extends object = Record<string, any>> {
  readonly state: State;
  /** The cursor: where the next stream begins. Keep it to go on from here in another page. */
  readonly lastEventId: string | undefined;
  /** Whether this tab has the stream; for what only one tab shall do. */
  readonly leads: boolean;

  /** Hear events of a type, of `prefix.*`, or `*` (all but the gateway's own). Returns what takes it back. */
  on<Type extends keyof Events & string>(
    type: Type,
    handler: (event: GatewayEvent<Type, Events[Type]>) => void,
  ): () => void;
  on(type: `${string}*` | `gateway.${string}`, handler: (event: GatewayEvent) => void): () => void;
  onEvent(handler: (event: GatewayEvent<keyof Events & string, Events[keyof Events]>) => void): () => void;
  onGap(handler: (gap: Gap) => void): () => void;
  onState(handler: (state: State, detail: StateDetail) => void): () => void;
  close(): void;
}

/**
 * Connect to `url`, the gateway's `/v1/events`, and stay connected. Begins when the code that called it is done: handlers
 * that it adds hear all. Throws `TypeError` for an address that is none.
 */
export function connect<Events extends object = Record<string, any>>(
  url: string | URL,
  options?: Options,
): Connection<Events>;

/** A reader of event streams, for bytes cut anywhere. A block is an event, only an id, or the time to reconnect. */
export function parser(
  emit: (block: { type?: string; data?: string; id?: string; retry?: number }) => void,
): (bytes: Uint8Array) => void;

/** Milliseconds before an attempt: at least `atLeast`, and up to `base` doubled by each that failed, 30 s at most. */
export function backoff(attempt: number, base: number, atLeast?: number): number;

/** Whether who is at cursor (event id) `a` had all that one at `b` had. */
export function covers(a: string | undefined, b: string | undefined): boolean;
