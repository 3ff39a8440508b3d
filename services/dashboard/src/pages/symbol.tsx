// One symbol: its candles, its recent ticks, and a ticket to trade it.
import { type Signal, useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { api, ask, sentence } from '../api/client';
import { session } from '../api/session';
import type { Alert, Candle, Firing, LatestPrice } from '../api/types';
import type { Chart } from '../chart';
import { decimal, price as formatPrice } from '../format';
import { INTERVALS, type Interval, SECONDS } from '../intervals';
import { live } from '../live';
import { prices, symbols } from '../market-data';
import { alerts } from '../notices';
import { Segments, typed } from '../parts/form';
import { OrderTicket } from '../parts/order-ticket';
import { useResource } from '../parts/resource';
import { Age, Badge, Change, List, MissingTrades, Panel, Table, Time } from '../parts/small';
import { LivePrice } from './market';

/** The most candles of one answer. */
const CANDLES = 500;
const TICKS = 30;

export function SymbolPage({ symbol }: { symbol: string }) {
  const interval = useSignal<Interval>('1m');
  // Read so that the page is rendered once the price of the symbol is known.
  const isLoaded = symbols.value !== null;
  const price = prices.get(symbol);

  return (
    <>
      <header class="title">
        <h1 tabIndex={-1}>{symbol}</h1>
        {price ? <Quote price={price} /> : isLoaded && <p class="soft">There is no price of {symbol} yet.</p>}
      </header>
      <div class="grid sides swapped">
        <div class="grid">
          <Panel
            title="Candles"
            aside={
              <form
                aria-label="Interval"
                onChange={(event) => {
                  interval.value = (typed(new FormData(event.currentTarget), 'interval') ?? '1m') as Interval;
                }}
              >
                <Segments
                  label="Interval"
                  name="interval"
                  value={interval.value}
                  options={INTERVALS.map((name) => [name, name])}
                />
              </form>
            }
          >
            <Candles key={interval.value} symbol={symbol} interval={interval.value} />
          </Panel>
        </div>
        <div class="grid">
          <Panel title="Trade" aside={<a href={`#/alerts?symbol=${encodeURIComponent(symbol)}`}>New alert</a>}>
            {session.value ? (
              <OrderTicket symbol={symbol} />
            ) : (
              <p class="empty">
                <a href="#/account">Sign in</a> to trade with paper money.
              </p>
            )}
          </Panel>
          <Ticks symbol={symbol} />
        </div>
      </div>
    </>
  );
}

function Quote({ price }: { price: Signal<LatestPrice> }) {
  const { venue, at, gap, change_24h_percent } = price.value;
  return (
    <p class="quote">
      <LivePrice price={price} />
      <Change value={change_24h_percent} />
      <span class="soft">
        {venue} · <Age at={at} /> ago
      </span>
      {gap && <MissingTrades since={gap.from} />}
    </p>
  );
}

function Candles({ symbol, interval }: { symbol: string; interval: Interval }) {
  const element = useRef<HTMLDivElement>(null);
  const candles = useSignal<Candle[] | null>(null);
  const error = useSignal<unknown>(null);
  const chart = useSignal<Chart | null>(null);

  useEffect(() => {
    let isGone = false;
    // The library of the chart is as large as all else, and only this page needs it.
    import('../chart')
      .then(({ createChart }) => {
        if (!isGone && element.current) chart.value = createChart(element.current, interval);
      })
      .catch((reason) => {
        error.value = reason;
      });
    return () => {
      isGone = true;
      chart.peek()?.remove();
    };
  }, [chart, error, interval]);

  useEffect(() => {
    async function refresh() {
      try {
        candles.value = await loadCandles(symbol, interval);
        error.value = null;
      } catch (reason) {
        error.value = reason;
        throw reason;
      }
    }
    const stops = [
      live.listen({
        channel: `candles:${interval}`,
        symbol,
        refresh,
        apply: () => refresh().catch(() => undefined),
      }),
      live.listen({ channel: 'gaps', symbol, refresh }),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  }, [symbol, interval, candles, error]);

  const firings = useFirings(symbol);
  useEffect(() => {
    if (candles.value) chart.value?.show(candles.value, firings);
  }, [chart.value, candles.value, firings]);

  const price = prices.get(symbol)?.value;
  useEffect(() => {
    if (price) chart.value?.move(price);
  }, [chart.value, price]);

  return (
    <>
      {error.value !== null && <p class="problem">{sentence(error.value)}</p>}
      <div ref={element} class="chart" role="img" aria-label={summary(symbol, interval, candles.value)} />
      {candles.value?.some(isIncomplete) && (
        <p class="soft">
          Where the background is shaded, trades are missing. A hollow candle lacks trades, or has some that were
          fetched afterwards.
        </p>
      )}
      {candles.value && candles.value.length > 0 && (
        <details>
          <summary>The newest candles as a table</summary>
          <CandleTable candles={candles.value.slice(-20).reverse()} />
        </details>
      )}
    </>
  );
}

/** Whether a candle does not rest on all trades, as they came. */
export function isIncomplete({ completeness }: Candle): boolean {
  return completeness !== 'complete';
}

/** Whether trades of a candle are missing now. */
export function lacksTrades({ completeness }: Candle): boolean {
  return completeness === 'partial' || completeness === 'unknown';
}

const COMPLETENESS = {
  complete: 'complete',
  partial: 'some are missing',
  backfilled: 'some were fetched afterwards',
  unknown: 'all are missing',
} as const;

async function loadCandles(symbol: string, interval: Interval): Promise<Candle[]> {
  const from = new Date(Date.now() - CANDLES * SECONDS[interval] * 1_000).toISOString();
  const params = { path: { symbol }, query: { interval, from, limit: CANDLES + 1, gaps: 'include' as const } };
  return (await ask(api.GET('/v1/prices/{symbol}/candles', { params }))).items;
}

/** The chart in words, for people who do not see it. */
function summary(symbol: string, interval: Interval, candles: Candle[] | null): string {
  const known = candles?.filter(({ completeness }) => completeness !== 'unknown') ?? [];
  const [first, last] = [known[0], known.at(-1)];
  if (!first?.open || !last?.close) return `Candles of ${symbol}`;
  const missing = candles?.some(lacksTrades) ? '; trades are missing in some' : '';
  return `${known.length} candles of ${interval} of ${symbol}, from ${formatPrice(first.open)} to ${formatPrice(last.close)}${missing}`;
}

function CandleTable({ candles }: { candles: Candle[] }) {
  const numbers = ['Open', 'High', 'Low', 'Close', 'Volume', 'Ticks'];
  return (
    <Table
      label="The newest candles"
      head={
        <>
          <th scope="col">Start</th>
          {numbers.map((name) => (
            <th key={name} scope="col" class="number">
              {name}
            </th>
          ))}
          <th scope="col">Trades</th>
        </>
      }
    >
      {candles.map((candle) => (
        <tr key={candle.start}>
          <th scope="row">
            <Time at={candle.start} />
          </th>
          {[candle.open, candle.high, candle.low, candle.close].map((text, index) => (
            <td key={numbers[index]} class="number">
              {text ? formatPrice(text) : '–'}
            </td>
          ))}
          <td class="number">{decimal(candle.volume)}</td>
          <td class="number">{candle.trades}</td>
          <td>{isIncomplete(candle) && <Badge tone="warn">{COMPLETENESS[candle.completeness]}</Badge>}</td>
        </tr>
      ))}
    </Table>
  );
}

/** The firings of the person's alerts on a symbol, for the marks of the chart. */
function useFirings(symbol: string): Firing[] {
  const mine = (alerts.value ?? []).filter((alert) => alert.symbol === symbol && alert.firings > 0);
  const key = mine.map(({ id, firings }) => `${id}:${firings}`).join();
  const firings = useResource(async () => (await Promise.all(mine.map(loadFirings))).flat(), [key]);
  return firings.value.value ?? NONE;
}

const NONE: Firing[] = [];

async function loadFirings({ id }: Alert): Promise<Firing[]> {
  const params = { path: { id }, query: { limit: 100 } };
  return (await ask(api.GET('/v1/alerts/{id}/firings', { params }))).items;
}

function Ticks({ symbol }: { symbol: string }) {
  const params = { path: { symbol }, query: { limit: TICKS } };
  const load = async () => (await ask(api.GET('/v1/prices/{symbol}/history', { params }))).items;
  // Each price is no reason to load so many, which nobody could read.
  const ticks = useResource(load, [symbol], [{ channel: 'prices', symbol, pace: 2_000 }]);
  return (
    <Panel title="Recent ticks">
      <List of={ticks} empty="No tick has arrived yet.">
        {(items) => (
          <Table
            short
            label="Recent ticks"
            head={
              <>
                <th scope="col">Time</th>
                <th scope="col" class="number">
                  Price
                </th>
                <th scope="col" class="number">
                  Size
                </th>
              </>
            }
          >
            {items.map((tick) => (
              <tr key={`${tick.stream_sequence}-${tick.stream_index}`}>
                <td>
                  <Time at={tick.at} />
                </td>
                <td class="number">{formatPrice(tick.price)}</td>
                <td class="number soft">{tick.size ? decimal(tick.size) : '–'}</td>
              </tr>
            ))}
          </Table>
        )}
      </List>
    </Panel>
  );
}
