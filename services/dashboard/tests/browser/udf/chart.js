// A chart of a UDF server. As charts do, it asks for so many bars before now, for older ones as somebody scrolls to the oldest
// that it has, until there is no data, and again and again for the newest two.
import { Datafeed } from './datafeed.js';
import { CandlestickSeries, createChart } from './lightweight-charts.js';

const COUNT_BACK = 300;
const POLL_MS = 1_000;
const SECONDS = { 1: 60, 5: 300, 15: 900, 60: 3_600, 240: 14_400, '1D': 86_400 };

const query = new URLSearchParams(location.search);
const resolution = query.get('resolution');
const datafeed = new Datafeed(query.get('server'));
const symbol = await datafeed.onReady().then(() => datafeed.resolveSymbol(query.get('symbol')));

const chart = createChart(document.getElementById('chart'), { autoSize: true, timeScale: { timeVisible: true } });
const precision = Math.log10(symbol.pricescale.value);
const series = chart.addSeries(CandlestickSeries, {
  priceFormat: { type: 'price', precision, minMove: symbol.minmov.value / symbol.pricescale.value },
});
let bars = [];
let isComplete = false;
let isLoading = false;

function draw() {
  const number = ({ time, open, high, low, close }) => ({
    time: time / 1_000,
    open: open.value,
    high: high.value,
    low: low.value,
    close: close.value,
  });
  series.setData(bars.map(number));
}

async function loadOlder(to) {
  if (isLoading || isComplete) return;
  isLoading = true;
  const from = to - COUNT_BACK * SECONDS[resolution];
  const page = await datafeed.getBars(symbol, resolution, { from, to, countBack: COUNT_BACK });
  isComplete = page.noData;
  bars = [...page.bars, ...bars];
  draw();
  isLoading = false;
}

async function loadNewest() {
  const now = await datafeed.getServerTime();
  const page = await datafeed.getBars(symbol, resolution, {
    from: now - 2 * SECONDS[resolution],
    to: now + 1,
    countBack: 2,
  });
  for (const bar of page.bars) {
    const newest = bars.at(-1)?.time ?? 0;
    if (bar.time === newest) bars[bars.length - 1] = bar;
    else if (bar.time > newest) bars.push(bar);
  }
  draw();
}

await loadOlder(await datafeed.getServerTime());
chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
  if (range && range.from < 10 && bars.length > 0) void loadOlder(bars[0].time / 1_000);
});
setInterval(loadNewest, POLL_MS);

/** What the chart shows: the numbers of the library, and the text of each number as it was sent. */
window.shown = () => ({
  isComplete,
  drawn: series.data(),
  bars: bars.map(({ time, ...numbers }) => ({
    start: new Date(time).toISOString(),
    ...Object.fromEntries(Object.entries(numbers).map(([name, { text }]) => [name, text])),
  })),
  requests: datafeed.requests,
});
