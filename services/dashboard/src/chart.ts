// The chart of a symbol. This is the only file that names the library, which is loaded when a chart is shown.
import {
  CandlestickSeries,
  ColorType,
  createChart as create,
  createSeriesMarkers,
  HistogramSeries,
  type SeriesMarker,
  type Time,
  type UTCTimestamp,
} from 'lightweight-charts';
import type { Candle, Firing, LatestPrice } from './api/types';
import { type Interval, SECONDS } from './intervals';

export interface Chart {
  /** Shows candles, oldest first, and marks firings. */
  show(candles: Candle[], firings: Firing[]): void;
  /** Moves the newest candle to the latest price. */
  move(price: LatestPrice): void;
  remove(): void;
}

/** The library shows times as UTC; this shifts them to the time zone of the person. */
function localTime(at: string): UTCTimestamp {
  const date = new Date(at);
  return (Math.floor(date.getTime() / 1_000) - date.getTimezoneOffset() * 60) as UTCTimestamp;
}

/** The colours of the page, which differ in the dark. */
function colours() {
  const style = getComputedStyle(document.documentElement);
  const named = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: named('ink'),
    soft: named('soft'),
    line: named('line'),
    card: named('card'),
    up: named('up'),
    down: named('down'),
    upWash: named('up-wash'),
    downWash: named('down-wash'),
    gap: named('warn-wash'),
    accent: named('accent'),
  };
}
type Colours = ReturnType<typeof colours>;

function options({ soft, line, card }: Colours) {
  return {
    // The logo is a style inside of the page, which its policy forbids; the foot of the page names the authors.
    layout: { background: { type: ColorType.Solid, color: card }, textColor: soft, attributionLogo: false },
    grid: { vertLines: { color: line }, horzLines: { color: line } },
    rightPriceScale: { borderColor: line },
    timeScale: { borderColor: line, timeVisible: true, secondsVisible: false, maxBarSpacing: 24 },
  };
}

const UP_DOWN = ({ up, down }: Colours) => ({
  upColor: up,
  downColor: down,
  borderUpColor: up,
  borderDownColor: down,
  wickUpColor: up,
  wickDownColor: down,
});

/** So few candles are drawn as wide as the chart. */
const FEW = 60;

/** Draws a chart of candles of one width into an element, with the size of the element. */
export function createChart(element: HTMLElement, interval: Interval): Chart {
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  let paint = colours();
  const chart = create(element, { autoSize: true, ...options(paint) });
  // Behind the candles: a full column wherever trades are missing.
  const gaps = chart.addSeries(HistogramSeries, {
    priceScaleId: 'gaps',
    lastValueVisible: false,
    priceLineVisible: false,
  });
  const volume = chart.addSeries(HistogramSeries, {
    priceScaleId: 'volume',
    priceFormat: { type: 'volume' },
    lastValueVisible: false,
    priceLineVisible: false,
  });
  const candles = chart.addSeries(CandlestickSeries, UP_DOWN(paint));
  const marks = createSeriesMarkers<Time>(candles, []);
  chart.priceScale('gaps').applyOptions({ scaleMargins: { top: 0, bottom: 0 } });
  chart.priceScale('volume').applyOptions({ scaleMargins: { top: 0.8, bottom: 0 } });

  let shown: { candles: Candle[]; firings: Firing[] } = { candles: [], firings: [] };
  let newest: { start: number; open: number; high: number; low: number; close: number } | undefined;
  let isNew = true;

  function draw() {
    const known = shown.candles.filter((candle) => candle.open && candle.close);
    candles.applyOptions({ priceFormat: priceFormat(known) });
    const bars = known.map(bar);
    candles.setData(bars.map((bar, index) => (isHollow(known[index]) ? { ...bar, color: paint.card } : bar)));
    const [last, lastBar] = [known.at(-1), bars.at(-1)];
    newest = last && lastBar && { ...lastBar, start: Date.parse(last.start) };
    volume.setData(
      known.map(({ start, volume, open, close }) => {
        const color = Number(close) >= Number(open) ? paint.upWash : paint.downWash;
        return { time: localTime(start), value: Number(volume), color };
      }),
    );
    const missing = shown.candles.filter(
      ({ completeness }) => completeness === 'partial' || completeness === 'unknown',
    );
    gaps.setData(missing.map(({ start }) => ({ time: localTime(start), value: 1, color: paint.gap })));
    marks.setMarkers(markers(known, shown.firings, paint));
  }

  function repaint() {
    paint = colours();
    chart.applyOptions(options(paint));
    candles.applyOptions(UP_DOWN(paint));
    draw();
  }
  scheme.addEventListener('change', repaint);

  return {
    show(candles, firings) {
      shown = { candles, firings };
      draw();
      // What somebody has scrolled to stays where it is.
      if (isNew && candles.length > 0) {
        if (candles.length < FEW) chart.timeScale().fitContent();
        else chart.timeScale().scrollToRealTime();
        isNew = false;
      }
    },
    move({ at, price }) {
      const width = SECONDS[interval] * 1_000;
      const start = Math.floor(Date.parse(at) / width) * width;
      const value = Number(price);
      if (!newest || start < newest.start) return;
      // The first price of a new candle begins it; the API has its other prices once it is loaded again.
      if (start > newest.start) newest = { start, open: value, high: value, low: value, close: value };
      const { open, high, low } = newest;
      newest = { start, open, high: Math.max(high, value), low: Math.min(low, value), close: value };
      const time = localTime(new Date(start).toISOString());
      candles.update({ time, open, high: newest.high, low: newest.low, close: value });
    },
    remove() {
      scheme.removeEventListener('change', repaint);
      chart.remove();
    },
  };
}

function bar({ start, open, high, low, close }: Candle) {
  const [o, h, l, c] = [open, high, low, close].map(Number) as [number, number, number, number];
  return { time: localTime(start), open: o, high: h, low: l, close: c };
}

/** Whether a candle does not rest on all trades, as they came. */
function isHollow(candle: Candle | undefined): boolean {
  return candle?.completeness !== 'complete';
}

/** As many decimal places as the prices have, at least two. */
function priceFormat(candles: Candle[]) {
  const places = candles.slice(-50).map(({ close }) => close?.split('.')[1]?.length ?? 0);
  const precision = Math.min(8, Math.max(2, ...places));
  return { type: 'price', precision, minMove: 10 ** -precision } as const;
}

/** A mark on each candle in which alerts have fired, with how often. */
function markers(candles: Candle[], firings: Firing[], { accent }: Colours): SeriesMarker<Time>[] {
  const starts = candles.map(({ start }) => Date.parse(start));
  const counts = new Map<number, number>();
  for (const { fired_at } of firings) {
    const index = starts.findLastIndex((start) => start <= Date.parse(fired_at));
    counts.set(index, (counts.get(index) ?? 0) + 1);
  }
  const marked = candles.flatMap(({ start }, index) => {
    const count = counts.get(index);
    return count ? [{ time: localTime(start), text: count > 1 ? `×${count}` : '' }] : [];
  });
  return marked.map((mark) => ({ ...mark, position: 'aboveBar', shape: 'arrowDown', color: accent }));
}
