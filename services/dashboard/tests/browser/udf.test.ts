// A chart with a client of TradingView's UDF protocol shows our candles, to the digit.
import type { Page } from '@playwright/test';
import { expect, picture, test } from './fixtures';
import { fromFolder, type StaticSite, serveFiles } from './static-site';
import type { System } from './system';

const FILES = fromFolder(new URL('./udf', import.meta.url).pathname);
const LIBRARY = fromFolder(new URL('../../node_modules/lightweight-charts/dist', import.meta.url).pathname);
const SYMBOL = 'XMR-USD';
/** The recording begins here and is so long; in these hours of it nothing is traded. */
const [START, HOURS, SILENT] = [Date.parse('2018-04-05T00:00:00Z'), 30, { from: 10, to: 19 }];
const STEP_MS = 23_000;

interface Shown {
  isComplete: boolean;
  drawn: { time: number; open: number; high: number; low: number; close: number }[];
  bars: Record<'start' | 'open' | 'high' | 'low' | 'close' | 'volume', string>[];
  requests: { to: number; countback: number }[];
}

declare global {
  interface Window {
    shown(): Shown;
  }
}

/** A recording whose prices walk up and down, the same each time. */
function recording(): string {
  const lines = ['time,symbol,price,size'];
  let [turn, price] = [7, 201.234567];
  for (let at = START; at < START + HOURS * 3_600_000; at += STEP_MS) {
    const hour = Math.floor((at - START) / 3_600_000);
    if (hour >= SILENT.from && hour < SILENT.to) continue;
    turn = (turn * 69_069 + 12_345) % 2 ** 31;
    price += ((turn % 200_001) - 100_000) / 1_000_000;
    lines.push(`${new Date(at).toISOString()},${SYMBOL},${price.toFixed(6)},${(1 + (turn % 900)) / 8}`);
  }
  return `${lines.join('\n')}\n`;
}

/** All candles of the API, with the fields that a bar has. */
async function candles(system: System, interval: string): Promise<Shown['bars']> {
  const found: Shown['bars'] = [];
  let cursor = '';
  do {
    const address = `${system.url}/v1/prices/${SYMBOL}/candles?interval=${interval}&limit=1000${cursor}`;
    const page = (await (await fetch(address)).json()) as { items: Shown['bars']; next_cursor: string | null };
    found.push(...page.items);
    cursor = page.next_cursor === null ? '' : `&cursor=${page.next_cursor}`;
  } while (cursor);
  return found.map(({ start, open, high, low, close, volume }) => {
    return { start: new Date(start).toISOString(), open, high, low, close, volume };
  });
}

async function show(page: Page, site: StaticSite, system: System, symbol: string, resolution: string) {
  const query = new URLSearchParams({ server: `${system.url}/udf`, symbol, resolution });
  await page.goto(`${site.url}/?${query}`);
  await page.waitForFunction(() => window.shown?.().drawn.length > 0);
}

/** Drags the chart to the right until there is nothing older. */
async function scrollToTheBeginning(page: Page) {
  const { width, height } = page.viewportSize() ?? { width: 1280, height: 720 };
  await expect(async () => {
    await page.mouse.move(40, height / 2);
    await page.mouse.down();
    await page.mouse.move(width - 120, height / 2, { steps: 4 });
    await page.mouse.up();
    expect(await page.evaluate(() => window.shown().isComplete)).toBe(true);
  }).toPass({ intervals: [100], timeout: 40_000 });
}

test.describe
  .serial('a chart of the UDF server', () => {
    let site: StaticSite;

    test.beforeAll(async ({ system }) => {
      const isOfLibrary = (path: string) => path === '/lightweight-charts.js';
      const read = (path: string) =>
        isOfLibrary(path) ? LIBRARY('/lightweight-charts.standalone.production.mjs') : FILES(path);
      site = await serveFiles(read);
      await system.ingest(recording());
    });
    test.afterAll(() => site.close());

    for (const [resolution, interval] of [
      ['1', '1m'],
      ['15', '15m'],
      ['60', '1h'],
      ['1D', '1d'],
    ] as const) {
      test(`shows each candle of ${interval} to the digit, scrolled to the beginning`, async ({ page, system }) => {
        await show(page, site, system, SYMBOL, resolution);
        await picture(page, `udf-${interval}-newest`);
        await scrollToTheBeginning(page);
        const { bars, drawn, requests } = await page.evaluate(() => window.shown());
        const expected = await candles(system, interval);
        expect(bars).toEqual(expected);
        const numbers = expected.map(({ start, open, high, low, close }) => {
          const [o, h, l, c] = [open, high, low, close].map(Number);
          return { time: Date.parse(start) / 1_000, open: o, high: h, low: l, close: c };
        });
        expect(drawn).toEqual(numbers);
        const older = requests.filter(({ countback }) => countback > 2);
        // A page for each 300 bars, and one more that says that there is no data.
        expect(older).toHaveLength(Math.ceil(expected.length / 300) + 1);
        await picture(page, `udf-${interval}-oldest`);
      });
    }

    test('moves as prices come', async ({ page, system }) => {
      await show(page, site, system, 'BTC-USD', '1');
      const close = () => page.evaluate(() => window.shown().bars.at(-1)?.close);
      const first = await close();
      await expect.poll(close).not.toBe(first);
    });

    test('is refused a symbol that is not there', async ({ page, system }) => {
      const refused = page.waitForEvent('pageerror');
      const query = new URLSearchParams({ server: `${system.url}/udf`, symbol: 'NO-USD', resolution: '1' });
      await page.goto(`${site.url}/?${query}`);
      expect((await refused).message).toContain('unknown_symbol');
    });
  });
