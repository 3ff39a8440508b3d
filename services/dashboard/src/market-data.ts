// The latest price of each symbol, kept current while somebody looks.
import { type Signal, signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { ApiError, send } from './api/client';
import type { LatestPrice } from './api/types';
import { live } from './live';

/** A price for each symbol, so that one that moves renders itself alone. */
export const prices = new Map<string, Signal<LatestPrice>>();
/** The symbols that have a price, sorted; null before they were loaded. */
export const symbols = signal<string[] | null>(null);
export const failure = signal<unknown>(null);

/** The most symbols of one answer. */
const PAGE = 1_000;

let knownTag: string | null = null;

function put(price: LatestPrice) {
  const known = prices.get(price.symbol);
  if (!known) {
    prices.set(price.symbol, signal(price));
    symbols.value = [...prices.keys()].sort();
  } else {
    // An answer may be older than what the stream has brought; whether trades are missing only answers say.
    const isNewer = Date.parse(price.at) >= Date.parse(known.peek().at);
    known.value = isNewer ? price : { ...known.peek(), gap: price.gap ?? null };
  }
}

/** Takes a price of the stream, which has those of all venues, and not whether trades are missing. */
function apply(price: LatestPrice) {
  const known = prices.get(price.symbol);
  if (!known) refresh().catch(() => undefined);
  else if (known.peek().venue === price.venue) put({ ...known.peek(), ...price });
}

let loading: Promise<void> | undefined;

/** Loads all prices; those who ask at the same time share the answer. */
function refresh(): Promise<void> {
  loading ??= load().finally(() => {
    loading = undefined;
  });
  return loading;
}

async function load() {
  try {
    // The browser sends the tag of the answer that it has, and shows that answer again where it is still true.
    const response = await send(`/v1/prices?limit=${PAGE}`, { cache: 'no-cache' });
    if (!response.ok) throw new ApiError(response.status, await response.json().catch(() => ({})));
    failure.value = null;
    const tag = response.headers.get('ETag');
    if (tag !== null && tag === knownTag) return;
    const { items } = (await response.json()) as { items: LatestPrice[] };
    knownTag = tag;
    for (const price of items) put(price);
    symbols.value ??= [];
  } catch (error) {
    failure.value = error;
    throw error;
  }
}

/** Keeps the prices current while the component is shown, which is the shell of all pages. */
export function usePrices() {
  useEffect(() => {
    const stops = [
      live.listen({ channel: 'prices', refresh, apply: (data) => apply(data as LatestPrice) }),
      live.listen({ channel: 'gaps', refresh }),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  }, []);
}
