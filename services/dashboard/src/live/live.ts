// What happens, as it happens. Pages say what they show, and this module keeps it current: by the stream of events where the
// server has one, and by asking again and again where it has none or where something on the way holds the stream back.
import { signal } from '@preact/signals';
import { ApiError } from '../api/client';
import { time } from '../format';
import { eventStreamParser, type ServerEvent } from './event-stream';

export type Channel = 'prices' | `candles:${string}` | 'gaps' | 'firings' | 'orders' | 'trades' | 'deliveries';

export interface Listener {
  channel: Channel;
  /** Only events of this symbol; without it, those of all. */
  symbol?: string;
  /** Loads everything that is shown. It is called whenever events may have been missed. */
  refresh(): Promise<unknown>;
  /** Applies one event; without it, an event is a reason to refresh. */
  apply?(data: unknown): void;
  /** The time between two refreshes that events are a reason for, in milliseconds. */
  pace?: number;
}

/** Where events come from: a request to a path of the API, and the token of the person who is signed in. */
export interface Source {
  send(path: string, init: RequestInit): Promise<Response>;
  token(): string | undefined;
}

export type State = 'connecting' | 'streaming' | 'polling' | 'reconnecting';

const PRIVATE: ReadonlySet<Channel> = new Set<Channel>(['firings', 'orders', 'trades', 'deliveries']);
/** The server sends a comment every 15 s; a connection that is silent for longer is dead. */
const SILENCE_MS = 40_000;
/** The first event comes at once. A proxy that holds it back holds back all others as well. */
const FIRST_EVENT_MS = 8_000;
const POLL_MS = 2_000;
/** After so long the stream is tried again: where the server has none, and where it refused it for the moment. */
const [ABSENT_MS, REFUSED_MS] = [60_000, 10_000];
const LONGEST_WAIT_MS = 10_000;
/** Events that are only a reason to refresh come in bursts. */
const BURST_MS = 150;

/** How one connection has ended. */
interface Outcome {
  kind: 'refused' | 'held back' | 'ended' | 'unreachable';
  /** The time until the next try, in milliseconds, where the server says it. */
  wait?: number | undefined;
}

export class Live {
  /** How the pages are kept current. */
  readonly state = signal<State>('connecting');
  /** Since when nothing is heard, in milliseconds since 1970; null while the server answers. */
  readonly silentSince = signal<number | null>(null);
  /** What the last interruption has cost, as a sentence. */
  readonly missed = signal<string | null>(null);

  private readonly listeners = new Set<Listener>();
  /** Those that may lack what happened between their last refresh and the first event of a connection. */
  private readonly behind = new Set<Listener>();
  private readonly bursts = new Map<Listener, ReturnType<typeof setTimeout>>();
  private running: AbortController | undefined;
  private restart: ReturnType<typeof setTimeout> | undefined;
  private lastId: string | undefined;

  constructor(private readonly source: Source) {}

  /** Loads something and keeps it current until the returned function is called. */
  listen(listener: Listener): () => void {
    this.listeners.add(listener);
    this.behind.add(listener);
    void this.refresh(listener);
    this.reconnect();
    return () => {
      this.listeners.delete(listener);
      this.behind.delete(listener);
      clearTimeout(this.bursts.get(listener));
      this.bursts.delete(listener);
    };
  }

  /** Forgets where the stream was: another person may not resume there. */
  forget() {
    this.lastId = undefined;
    for (const listener of this.listeners) this.behind.add(listener);
    if (this.listeners.size > 0) this.reconnect();
  }

  /** Loads everything at once, for somebody who comes back to the page. */
  async refreshAll(): Promise<void> {
    const done = await Promise.all([...this.listeners].map((listener) => this.refresh(listener)));
    if (done.every(Boolean)) this.heard();
    else this.silent();
  }

  /** Opens the connection anew, once a page has said everything that it shows. */
  private reconnect() {
    clearTimeout(this.restart);
    this.restart = setTimeout(() => {
      this.running?.abort();
      this.running = new AbortController();
      void this.run(this.running.signal);
    }, 20);
  }

  private async run(signal: AbortSignal) {
    let failures = 0;
    while (!signal.aborted) {
      const { kind, wait } = await this.follow(signal);
      if (signal.aborted) return;
      if (kind === 'refused' || kind === 'held back') {
        await this.poll(signal, wait ?? ABSENT_MS);
        continue;
      }
      failures = kind === 'ended' ? 0 : failures + 1;
      this.silent();
      const growing = Math.min(LONGEST_WAIT_MS, 500 * 2 ** failures);
      await pause(wait ?? growing * (0.5 + Math.random() / 2), signal);
    }
  }

  /** Reads one connection to its end. */
  private async follow(signal: AbortSignal): Promise<Outcome> {
    const connection = new AbortController();
    const stop = () => connection.abort();
    signal.addEventListener('abort', stop, { once: true });
    let watchdog = setTimeout(stop, FIRST_EVENT_MS);
    let wait: number | undefined;
    let isOpen = false;
    let hasEvents = false;
    try {
      const headers: Record<string, string> = { Accept: 'text/event-stream' };
      if (this.lastId !== undefined) headers['Last-Event-ID'] = this.lastId;
      const response = await this.source.send(this.address(), {
        headers,
        signal: connection.signal,
        cache: 'no-store',
      });
      if (!response.ok || !response.body) return { kind: 'refused', wait: retryAfter(response) };
      isOpen = true;
      const parse = eventStreamParser({
        event: (event) => this.take(event),
        id: (id) => {
          this.lastId = id;
        },
        retry: (milliseconds) => {
          wait = milliseconds;
        },
      });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        clearTimeout(watchdog);
        watchdog = setTimeout(stop, SILENCE_MS);
        if (!hasEvents) this.state.value = 'streaming';
        this.heard();
        parse(next.value);
        if (!hasEvents) this.refreshBehind();
        hasEvents = true;
      }
    } catch {
      // The connection has failed or was given up, and is opened again.
    } finally {
      clearTimeout(watchdog);
      signal.removeEventListener('abort', stop);
      connection.abort();
    }
    if (hasEvents) return { kind: 'ended', wait };
    return { kind: isOpen ? 'held back' : 'unreachable', wait };
  }

  /** Asks for everything again and again, until the stream is worth another try. */
  private async poll(signal: AbortSignal, duration: number) {
    if (this.silentSince.peek() === null) this.state.value = 'polling';
    const end = Date.now() + duration;
    while (!signal.aborted && Date.now() < end) {
      await pause(POLL_MS, signal);
      if (signal.aborted || isHidden()) continue;
      await this.refreshAll();
    }
  }

  private take({ event, data }: ServerEvent) {
    const value = read(data);
    if (event === 'reset') {
      this.catchUp('More has happened meanwhile than the server keeps. Everything was loaded again.');
    } else if (event === 'resumed') {
      const { lost } = value as { lost?: number | null };
      if (lost !== 0) this.catchUp(`${lost ?? 'Some'} events were missed. Everything was loaded again.`);
    }
    for (const listener of this.listeners) {
      if (!isOf(listener, event, value)) continue;
      if (listener.apply) listener.apply(value);
      else this.refreshSoon(listener);
    }
  }

  /** Loads what may lack events from before the connection. */
  private refreshBehind() {
    for (const listener of this.behind) this.refreshSoon(listener);
    this.behind.clear();
  }

  /** Loads everything after events were lost, and says so. */
  private catchUp(sentence: string) {
    this.missed.value = sentence;
    for (const listener of this.listeners) this.behind.add(listener);
  }

  private refreshSoon(listener: Listener) {
    if (this.bursts.has(listener)) return;
    const burst = setTimeout(() => {
      this.bursts.delete(listener);
      void this.refresh(listener);
    }, listener.pace ?? BURST_MS);
    this.bursts.set(listener, burst);
  }

  /** Returns whether the server has answered, even if what it answered is a refusal. */
  private async refresh(listener: Listener): Promise<boolean> {
    try {
      await listener.refresh();
      return true;
    } catch (error) {
      return error instanceof ApiError && error.status < 500;
    }
  }

  private heard() {
    const since = this.silentSince.peek();
    if (since === null) return;
    this.silentSince.value = null;
    if (this.state.peek() === 'reconnecting') this.state.value = 'polling';
    if (this.state.peek() !== 'polling') return;
    const [from, to] = [since, Date.now()].map((at) => time(new Date(at).toISOString()));
    this.missed.value = `Nothing was heard from ${from} to ${to}. What is shown is current again.`;
  }

  private silent() {
    this.state.value = 'reconnecting';
    this.silentSince.value ??= Date.now();
  }

  /** Returns the path of the stream of everything that is listened to. */
  private address(): string {
    const mayListen = ({ channel }: Listener) => this.source.token() !== undefined || !PRIVATE.has(channel);
    const listeners = [...this.listeners].filter(mayListen);
    const query = new URLSearchParams({ channels: listed(listeners.map(({ channel }) => channel)) });
    const ofPrices = listeners.filter(({ channel }) => !PRIVATE.has(channel));
    if (ofPrices.every(({ symbol }) => symbol))
      query.set('symbols', listed(ofPrices.map(({ symbol }) => symbol ?? '')));
    return `/v1/stream?${query}`;
  }
}

function listed(names: string[]): string {
  return [...new Set(names)].sort().join(',');
}

function read(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return {};
  }
}

/** Whether an event is one that is listened to. The channel of candles has their width behind its name, and the event has it in its data. */
function isOf({ channel, symbol }: Listener, event: string, value: unknown): boolean {
  const named = value as { symbol?: string; interval?: string } | null;
  const isChannel = channel === event || channel === `${event}:${named?.interval}`;
  return isChannel && (symbol === undefined || named?.symbol === undefined || named.symbol === symbol);
}

function isHidden(): boolean {
  return typeof document !== 'undefined' && document.hidden;
}

/** When a stream that was refused is worth another try; undefined where the server has none. */
function retryAfter({ status, headers }: Response): number | undefined {
  if ([404, 405, 501].includes(status)) return undefined;
  const seconds = Number(headers.get('Retry-After') ?? Number.NaN);
  return Number.isFinite(seconds) ? Math.max(REFUSED_MS, seconds * 1_000) : REFUSED_MS;
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener('abort', end, { once: true });
  });
}
