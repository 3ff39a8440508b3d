// All symbols with their latest prices.
import { type Signal, useComputed, useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { sentence } from '../api/client';
import type { LatestPrice } from '../api/types';
import { now } from '../clock';
import { price as formatPrice } from '../format';
import { failure, prices, symbols } from '../market-data';
import { Age, Change, MissingTrades, SymbolLink } from '../parts/small';
import { SparkLine } from '../parts/spark-line';

export type SortKey = 'symbol' | 'price' | 'change' | 'venue' | 'at';

export interface Sorting {
  key: SortKey;
  descending: boolean;
}

/** After this time without a tick a price is called old. */
const OLD_MS = 60_000;

function compare(one: LatestPrice, other: LatestPrice, key: SortKey): number {
  switch (key) {
    case 'symbol':
      return 0;
    case 'venue':
      return one.venue.localeCompare(other.venue);
    case 'at':
      return Date.parse(one.at) - Date.parse(other.at);
    case 'price':
      return Number(one.price) - Number(other.price);
    case 'change': {
      // Symbols without a change come last, whichever way the others go.
      const [a, b] = [one.change_24h_percent, other.change_24h_percent].map((text) =>
        text ? Number(text) : -Infinity,
      );
      return a === b ? 0 : (a ?? 0) - (b ?? 0);
    }
  }
}

/** The prices whose symbol or venue contains the text, in order; equal ones by symbol. */
export function select(all: LatestPrice[], text: string, { key, descending }: Sorting): LatestPrice[] {
  const wanted = text.trim().toLowerCase();
  const found = all.filter(({ symbol, venue }) => symbol.toLowerCase().includes(wanted) || venue.includes(wanted));
  const sign = descending ? -1 : 1;
  return found.sort((one, other) => {
    const order = compare(one, other, key);
    return order === 0 ? one.symbol.localeCompare(other.symbol) * (key === 'symbol' ? sign : 1) : order * sign;
  });
}

const COLUMNS: [key: SortKey | null, label: string, className: string][] = [
  ['symbol', 'Symbol', ''],
  ['price', 'Price', 'number'],
  ['change', '24 hours', 'number'],
  [null, 'Trend', 'wide'],
  ['venue', 'Venue', 'wide'],
  ['at', 'Last tick', 'number'],
];

export function Market() {
  const text = useSignal('');
  const sorting = useSignal<Sorting>({ key: 'symbol', descending: false });
  // Sorted anew every few seconds only: rows that jump with each tick cannot be read.
  const beat = useComputed(() => Math.floor(now.value / 5_000));
  const shown = useComputed(() => {
    beat.value;
    const all = (symbols.value ?? []).flatMap((symbol) => prices.get(symbol)?.peek() ?? []);
    return select(all, text.value, sorting.value).map(({ symbol }) => symbol);
  });

  function sortBy(key: SortKey) {
    const { key: current, descending } = sorting.value;
    sorting.value = { key, descending: key === current ? !descending : key === 'change' || key === 'price' };
  }

  return (
    <>
      <header class="title">
        <h1 tabIndex={-1}>Market</h1>
        <input
          type="search"
          class="search"
          aria-label="Filter by symbol or venue"
          placeholder="Filter, like BTC"
          value={text}
          onInput={(event) => {
            text.value = event.currentTarget.value;
          }}
        />
      </header>
      {symbols.value === null ? (
        <p class="empty">{failure.value ? sentence(failure.value) : 'Loading…'}</p>
      ) : (
        <div class="panel flush">
          <table class="market">
            <caption class="unseen">Latest prices</caption>
            <thead>
              <tr>
                {COLUMNS.map(([key, label, className]) => (
                  <th key={label} scope="col" class={className} aria-sort={key ? order(sorting.value, key) : undefined}>
                    {key ? (
                      <button type="button" class="sort" onClick={() => sortBy(key)}>
                        {label}
                      </button>
                    ) : (
                      label
                    )}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {shown.value.map((symbol) => {
                const price = prices.get(symbol);
                return price && <Row key={symbol} price={price} />;
              })}
            </tbody>
          </table>
          {shown.value.length === 0 && (
            <p class="empty">{text.value ? `No symbol matches “${text.value}”.` : 'No price has arrived yet.'}</p>
          )}
        </div>
      )}
    </>
  );
}

function order({ key, descending }: Sorting, column: SortKey) {
  if (key !== column) return undefined;
  return descending ? 'descending' : 'ascending';
}

function Row({ price }: { price: Signal<LatestPrice> }) {
  const { symbol, venue, at, gap, change_24h_percent } = price.value;
  return (
    <tr>
      <th scope="row">
        <SymbolLink symbol={symbol} />
        {gap && <MissingTrades since={gap.from} />}
      </th>
      <td class="number">
        <LivePrice price={price} />
      </td>
      <td class="number">
        <Change value={change_24h_percent} />
      </td>
      <td class="wide">
        <SparkLine price={price.value} />
      </td>
      <td class="wide soft">{venue}</td>
      <td class={`number ${now.value - Date.parse(at) > OLD_MS ? 'old' : 'soft'}`}>
        <Age at={at} />
      </td>
    </tr>
  );
}

/** A price that lights up as it moves. */
export function LivePrice({ price }: { price: Signal<LatestPrice> }) {
  const current = price.value.price;
  const before = useRef({ price: current, moved: 'flat' });
  if (before.current.price !== current) {
    const moved = Number(current) > Number(before.current.price) ? 'up' : 'down';
    before.current = { price: current, moved };
  }
  return (
    // A new element begins its animation anew.
    <span key={current} class={`price moved-${before.current.moved}`}>
      {formatPrice(current)}
    </span>
  );
}
