// The course of a price in a few pixels.
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { api, ask } from '../api/client';
import type { LatestPrice } from '../api/types';

const [WIDTH, HEIGHT] = [96, 28];
const DAY_MS = 86_400_000;
/** With fewer candles a line says nothing, and shorter ones are asked for. */
const FEWEST = 8;

/** The points of a line through values: the lowest at the bottom, the highest at the top. */
export function linePoints(values: number[], width = WIDTH, height = HEIGHT): string {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const step = width / Math.max(1, values.length - 1);
  const y = (value: number) => (high === low ? height / 2 : (1 - (value - low) / (high - low)) * (height - 4) + 2);
  return values.map((value, index) => `${(index * step).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
}

async function closes(symbol: string, interval: '15m' | '1m'): Promise<number[]> {
  const from = new Date(Date.now() - DAY_MS).toISOString();
  const query = { interval, from, limit: interval === '1m' ? 1_000 : 100 };
  const { items } = await ask(api.GET('/v1/prices/{symbol}/candles', { params: { path: { symbol }, query } }));
  return items.flatMap(({ close }) => (close === null || close === undefined ? [] : [Number(close)]));
}

/** Lines are loaded once somebody sees them, a few at a time. */
let queue: Promise<unknown>[] = [];
const AT_ONCE = 4;

async function load(symbol: string): Promise<number[]> {
  while (queue.length >= AT_ONCE) await Promise.race(queue);
  const loading = closes(symbol, '15m').then((long) => (long.length < FEWEST ? closes(symbol, '1m') : long));
  const slot = loading
    .catch(() => undefined)
    .then(() => {
      queue = queue.filter((other) => other !== slot);
    });
  queue.push(slot);
  return loading;
}

export function SparkLine({ price }: { price: LatestPrice }) {
  const history = useSignal<number[]>([]);
  const element = useRef<HTMLSpanElement>(null);
  const { symbol } = price;

  useEffect(() => {
    history.value = [];
    const observer = new IntersectionObserver(async ([entry]) => {
      if (!entry?.isIntersecting) return;
      observer.disconnect();
      // A line is no more than a decoration: without it the table says the same.
      history.value = await load(symbol).catch(() => []);
    });
    if (element.current) observer.observe(element.current);
    return () => observer.disconnect();
  }, [symbol, history]);

  const values = [...history.value, Number(price.price)];
  const [first = 0, last = 0] = [values[0], values.at(-1)];
  const tone = last > first ? 'up' : last < first ? 'down' : 'flat';
  return (
    <span ref={element} class="spark" aria-hidden="true">
      {values.length > 2 && (
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} class={tone} role="presentation">
          <polyline points={linePoints(values)} />
        </svg>
      )}
    </span>
  );
}
