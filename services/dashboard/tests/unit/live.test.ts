import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ApiError } from '../../src/api/client';
import { type Listener, Live } from '../../src/live/live';

/** A server that answers each connection as the test says, and remembers what it was asked. */
class Server {
  readonly asked: { path: string; lastId: string | null }[] = [];
  token: string | undefined;
  private stream: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(public answer: (server: Server) => Response | Promise<Response>) {}

  readonly send = async (path: string, init: RequestInit) => {
    this.asked.push({ path, lastId: new Headers(init.headers).get('Last-Event-ID') });
    const response = await this.answer(this);
    const mine = this.stream;
    init.signal?.addEventListener('abort', () => mine === this.stream && this.end(init.signal?.reason));
    return response;
  };

  /** A stream that the test writes to. */
  open(): Response {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.stream = controller;
      },
    });
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
  }

  async write(text: string) {
    this.stream?.enqueue(new TextEncoder().encode(text));
    await vi.advanceTimersByTimeAsync(0);
  }

  async cut() {
    this.end(new TypeError('network error'));
    await vi.advanceTimersByTimeAsync(0);
  }

  private end(reason: unknown) {
    this.stream?.error(reason);
    this.stream = undefined;
  }
}

function event(name: string, data: unknown, id?: string): string {
  return `event: ${name}\n${id ? `id: ${id}\n` : ''}data: ${JSON.stringify(data)}\n\n`;
}

const RESUMED = event('resumed', { asked: null, from: null, lost: 0 }, 's0');

function listener(rest: Partial<Pick<Listener, 'channel' | 'symbol'>> = {}) {
  const refresh = vi.fn<() => Promise<unknown>>(async () => undefined);
  const apply = vi.fn();
  return { channel: 'prices' as const, refresh, apply, ...rest };
}

function start(answer: (server: Server) => Response | Promise<Response>) {
  const server = new Server(answer);
  return { server, live: new Live({ send: server.send, token: () => server.token }) };
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(1);
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test('events reach those who listen to their channel and symbol', async () => {
  const { server, live } = start((server) => server.open());
  const [all, bitcoin, candles] = [listener(), listener({ symbol: 'BTC-USD' }), listener({ channel: 'candles:1m' })];
  const five = listener({ channel: 'candles:5m' });
  for (const one of [all, bitcoin, candles, five]) live.listen(one);
  await vi.advanceTimersByTimeAsync(50);
  expect(server.asked).toEqual([{ path: '/v1/stream?channels=candles%3A1m%2Ccandles%3A5m%2Cprices', lastId: null }]);
  await server.write(RESUMED + event('prices', { symbol: 'ETH-USD', price: '5' }, 's1'));
  expect(live.state.value).toBe('streaming');
  expect(all.apply).toHaveBeenCalledWith({ symbol: 'ETH-USD', price: '5' });
  expect(bitcoin.apply).not.toHaveBeenCalled();
  expect(candles.apply).not.toHaveBeenCalled();
  await server.write(event('candles', { symbol: 'ETH-USD', interval: '1m' }, 's2'));
  expect(candles.apply).toHaveBeenCalledTimes(1);
  expect(five.apply).not.toHaveBeenCalled();
});

test('what happened between the first load and the first event is loaded', async () => {
  const { server, live } = start((server) => server.open());
  const prices = listener();
  live.listen(prices);
  await vi.advanceTimersByTimeAsync(50);
  expect(prices.refresh).toHaveBeenCalledTimes(1);
  await server.write('retry: 900\nid: s0\n\n');
  await vi.advanceTimersByTimeAsync(1_000);
  expect(prices.refresh).toHaveBeenCalledTimes(2);
});

test('a sign of life moves the place that is resumed from', async () => {
  const { server, live } = start((server) => server.open());
  live.listen(listener());
  await vi.advanceTimersByTimeAsync(50);
  await server.write('retry: 900\nid: s0\n\n: \nid: s5\n\n');
  await server.cut();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(server.asked.at(-1)?.lastId).toBe('s5');
});

test('symbols are named only where everybody names one', async () => {
  const { server, live } = start((server) => server.open());
  live.listen(listener({ symbol: 'BTC-USD' }));
  await vi.advanceTimersByTimeAsync(50);
  expect(server.asked.at(-1)?.path).toBe('/v1/stream?channels=prices&symbols=BTC-USD');
  live.listen(listener());
  await vi.advanceTimersByTimeAsync(50);
  expect(server.asked.at(-1)?.path).toBe('/v1/stream?channels=prices');
});

test('private channels are asked for with a session only', async () => {
  const { server, live } = start((server) => server.open());
  live.listen(listener());
  live.listen(listener({ channel: 'firings' }));
  await vi.advanceTimersByTimeAsync(50);
  expect(server.asked.at(-1)?.path).toBe('/v1/stream?channels=prices');
  server.token = 'token';
  live.forget();
  await vi.advanceTimersByTimeAsync(50);
  expect(server.asked.at(-1)?.path).toBe('/v1/stream?channels=firings%2Cprices');
});

test('a connection that is cut is resumed behind the last event, and nothing is said when nothing is lost', async () => {
  const { server, live } = start((server) => server.open());
  const prices = listener();
  live.listen(prices);
  await vi.advanceTimersByTimeAsync(50);
  await server.write(RESUMED + event('prices', { symbol: 'BTC-USD' }, 's7'));
  await vi.advanceTimersByTimeAsync(1_000);
  const loaded = prices.refresh.mock.calls.length;
  await server.cut();
  expect(live.state.value).toBe('reconnecting');
  expect(live.silentSince.value).not.toBeNull();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(server.asked.at(-1)?.lastId).toBe('s7');
  await server.write(event('resumed', { asked: 's7', from: 's7', lost: 0 }, 's7'));
  await vi.advanceTimersByTimeAsync(1_000);
  expect([live.state.value, live.silentSince.value, live.missed.value]).toEqual(['streaming', null, null]);
  expect(prices.refresh).toHaveBeenCalledTimes(loaded);
});

test.each([
  ['counted', event('resumed', { asked: 's7', from: 's9', lost: 12 }), '12 events were missed.'],
  ['not counted', event('resumed', { asked: 's7', from: 's9', lost: null }), 'Some events were missed.'],
  ['too many', event('reset', {}), 'More has happened meanwhile than the server keeps.'],
])('events that are lost are said, and everything is loaded again: %s', async (_, first, sentence) => {
  const { server, live } = start((server) => server.open());
  const prices = listener();
  live.listen(prices);
  await vi.advanceTimersByTimeAsync(50);
  await server.write(RESUMED + event('prices', {}, 's7'));
  await vi.advanceTimersByTimeAsync(1_000);
  const loaded = prices.refresh.mock.calls.length;
  await server.cut();
  await vi.advanceTimersByTimeAsync(1_000);
  await server.write(first);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(live.missed.value).toContain(sentence);
  expect(prices.refresh).toHaveBeenCalledTimes(loaded + 1);
});

test('where there is no stream everything is asked for every 2 s, and the stream is tried again after a minute', async () => {
  const { server, live } = start(() => new Response('', { status: 404 }));
  const prices = listener();
  live.listen(prices);
  await vi.advanceTimersByTimeAsync(50);
  expect([live.state.value, prices.refresh.mock.calls.length]).toEqual(['polling', 1]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(prices.refresh).toHaveBeenCalledTimes(6);
  expect(server.asked.length).toBe(1);
  server.answer = (server) => server.open();
  await vi.advanceTimersByTimeAsync(54_000);
  expect(server.asked.length).toBe(2);
  await server.write(RESUMED);
  expect(live.state.value).toBe('streaming');
});

test('where a proxy holds the stream back everything is asked for as well', async () => {
  const { live } = start((server) => server.open());
  const prices = listener();
  live.listen(prices);
  await vi.advanceTimersByTimeAsync(7_000);
  expect(live.state.value).toBe('connecting');
  await vi.advanceTimersByTimeAsync(4_000);
  expect(live.state.value).toBe('polling');
  expect(prices.refresh.mock.calls.length).toBeGreaterThan(1);
});

test('a connection that is silent for longer than the heartbeat is given up', async () => {
  const { server, live } = start((server) => server.open());
  live.listen(listener());
  await vi.advanceTimersByTimeAsync(50);
  await server.write(RESUMED);
  await vi.advanceTimersByTimeAsync(30_000);
  await server.write(': heartbeat\n\n');
  await vi.advanceTimersByTimeAsync(30_000);
  expect(server.asked.length).toBe(1);
  await vi.advanceTimersByTimeAsync(15_000);
  expect(server.asked.length).toBe(2);
});

test('a server that cannot be reached is tried again, at first soon and then every 10 s', async () => {
  const { server, live } = start(() => Promise.reject(new TypeError('connection refused')));
  live.listen(listener());
  await vi.advanceTimersByTimeAsync(30);
  expect(live.state.value).toBe('reconnecting');
  await vi.advanceTimersByTimeAsync(10_000);
  const soon = server.asked.length;
  expect(soon).toBeGreaterThan(3);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(server.asked.length - soon).toBeLessThan(8);
});

test('a stream that is refused for the moment is tried again when the server says, and meanwhile everything is asked for', async () => {
  const { server, live } = start(() => new Response('', { status: 429, headers: { 'Retry-After': '30' } }));
  const prices = listener();
  live.listen(prices);
  await vi.advanceTimersByTimeAsync(20_000);
  expect([live.state.value, server.asked.length]).toEqual(['polling', 1]);
  expect(prices.refresh.mock.calls.length).toBeGreaterThan(8);
  await vi.advanceTimersByTimeAsync(12_000);
  expect(server.asked.length).toBe(2);
});

test('polling that fails says since when, and afterwards how long that was', async () => {
  const { live } = start(() => new Response('', { status: 404 }));
  const prices = listener();
  live.listen(prices);
  await vi.advanceTimersByTimeAsync(3_000);
  prices.refresh.mockRejectedValue(new TypeError('connection refused'));
  await vi.advanceTimersByTimeAsync(4_000);
  expect(live.state.value).toBe('reconnecting');
  expect(live.silentSince.value).not.toBeNull();
  prices.refresh.mockRejectedValue(new ApiError(404, {}));
  await vi.advanceTimersByTimeAsync(4_000);
  expect([live.state.value, live.silentSince.value]).toEqual(['polling', null]);
  expect(live.missed.value).toMatch(/^Nothing was heard from .+ to .+\.$/);
});

test('events without a value of their own are a reason to load, once for many', async () => {
  const { server, live } = start((server) => server.open());
  const { refresh } = listener();
  live.listen({ channel: 'orders', refresh });
  server.token = 'token';
  await vi.advanceTimersByTimeAsync(50);
  await server.write(RESUMED);
  await vi.advanceTimersByTimeAsync(1_000);
  const loaded = refresh.mock.calls.length;
  await server.write(event('orders', {}, 's1') + event('orders', {}, 's2') + event('orders', {}, 's3'));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(refresh).toHaveBeenCalledTimes(loaded + 1);
});

test('who has stopped to listen hears nothing', async () => {
  const { server, live } = start((server) => server.open());
  const prices = listener();
  const stop = live.listen(prices);
  await vi.advanceTimersByTimeAsync(50);
  stop();
  await server.write(RESUMED + event('prices', {}, 's1'));
  await vi.advanceTimersByTimeAsync(1_000);
  expect(prices.apply).not.toHaveBeenCalled();
  expect(prices.refresh).toHaveBeenCalledTimes(1);
});
