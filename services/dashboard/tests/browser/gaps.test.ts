// Where trades are missing, each page says so: the market, the symbol, and the table without JavaScript.

import { once } from 'node:events';
import { connect } from 'node:net';
import type { Page } from '@playwright/test';
import { expect, findings, open, picture, test } from './fixtures';
import type { System } from './system';

const SYMBOL = 'LTC-USD';
const MINUTE = 60_000;
const NOW = Math.floor(Date.now() / MINUTE) * MINUTE;
const ago = (minutes: number) => new Date(NOW - minutes * MINUTE).toISOString();
/** What was missed and fetched afterwards, and what is missing now: minutes before now. */
const [FETCHED, MISSING] = [
  { from: 70, to: 62 },
  { from: 30, to: 12 },
];

/** A recording of two hours, without the trades that are missing. */
function recording(): string {
  const lines = ['time,symbol,price,size'];
  for (let number = 0; number < 480; number++) {
    const at = NOW - 120 * MINUTE + number * 15_000;
    if (at >= Date.parse(ago(MISSING.from)) && at < Date.parse(ago(MISSING.to))) continue;
    const price = 80 + 4 * Math.sin(number / 45) + 0.4 * Math.sin(number * 1.7);
    lines.push(`${new Date(at).toISOString()},${SYMBOL},${price.toFixed(2)},${1 + (number % 7)}`);
  }
  return `${lines.join('\n')}\n`;
}

interface Gap {
  from: string;
  to: string | null;
  state: 'open' | 'filled';
  revision: number;
}

/** Reports a gap as the price-ingestor does: the row first, and then the event. */
async function report(system: System, { from, to, state, revision }: Gap) {
  const bound = Date.parse(from) * 1_000;
  const upper = to === null ? 'NULL' : `'${to}'`;
  await system.sql(`
    INSERT INTO feed_gaps (venue, symbol, lower_bound, revision, bounds, gap_from, gap_to, reason, state)
    VALUES ('file', '${SYMBOL}', ${bound}, ${revision}, 'times', '${from}', ${upper}, 'disconnected', '${state}')
    ON CONFLICT (venue, symbol, lower_bound)
      DO UPDATE SET (revision, gap_to, state) = (excluded.revision, excluded.gap_to, excluded.state);
    INSERT INTO feed_gap_changes VALUES ('file', '${SYMBOL}', 1)
    ON CONFLICT (venue, symbol) DO UPDATE SET changes = feed_gap_changes.changes + 1`);
  const gap_id = `file:${SYMBOL}:${bound}`;
  const ids = { first_missing_id: null, last_missing_id: null };
  const event = { venue: 'file', symbol: SYMBOL, gap_id, revision, bounds: 'times', from, to, ...ids };
  await publish(system, `feeds.file.${SYMBOL}`, `${gap_id}:${revision}`, {
    ...event,
    reason: 'disconnected',
    state,
    filled: 0,
  });
}

/** Publishes a message in the protocol of NATS. */
async function publish(system: System, subject: string, id: string, event: object) {
  const { hostname, port, username, password } = new URL(await system.named('NATS_URL'));
  const login = username ? { user: username, pass: password } : {};
  const headers = `NATS/1.0\r\nce-specversion: 1.0\r\nce-id: ${id}\r\nce-type: feed-gap.v1\r\nce-source: test\r\n\r\n`;
  const body = JSON.stringify(event);
  const socket = connect(Number(port), hostname);
  socket.write(`CONNECT ${JSON.stringify({ verbose: false, headers: true, no_responders: true, ...login })}\r\n`);
  socket.write(`HPUB ${subject} ${headers.length} ${headers.length + body.length}\r\n${headers}${body}\r\nPING\r\n`);
  let answer = '';
  while (!answer.includes('PONG')) answer += (await once(socket, 'data'))[0];
  socket.destroy();
  expect(answer).not.toContain('-ERR');
}

/** The number of pixels of the chart in which a colour of the page's style is. */
function pixelsOf(page: Page, name: string): Promise<number> {
  return page.evaluate((name) => {
    const colour = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const [red, green, blue] = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
    let count = 0;
    for (const canvas of document.querySelectorAll<HTMLCanvasElement>('.chart canvas')) {
      if (canvas.width === 0 || canvas.height === 0) continue;
      const { data } = canvas.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height) ?? { data: [] };
      for (let at = 0; at < data.length; at += 4) {
        if (data[at] === red && data[at + 1] === green && data[at + 2] === blue) count++;
      }
    }
    return count;
  }, name);
}

const SIZES = [
  { width: 1280, height: 860 },
  { width: 390, height: 844 },
];

test('missing trades are marked on each page while they are missing, without a reload', async ({ page, system }) => {
  test.setTimeout(120_000);
  await system.ingest(recording());
  await report(system, { from: ago(FETCHED.from), to: ago(FETCHED.to), state: 'filled', revision: 1 });
  await open(page, system, 'market', 'Market');
  const row = page.getByRole('row', { name: new RegExp(`^${SYMBOL}`) });
  await expect(row).toBeVisible();
  await expect(row).not.toContainText('missing');
  await report(system, { from: ago(MISSING.from), to: null, state: 'open', revision: 1 });
  await expect(row).toContainText(/trades missing since .+/);

  await page.goto(`${system.url}/prices`);
  const since = ago(MISSING.from).slice(0, 16).replace('T', ' ');
  await expect(page.getByRole('row', { name: new RegExp(`^${SYMBOL}`) })).toContainText(
    `Trades since ${since}:00 are missing`,
  );
  await expect(page.getByRole('row', { name: /^BTC-USD/ })).not.toContainText('missing');

  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    for (const size of SIZES) {
      await page.setViewportSize(size);
      for (const [address, heading] of [
        ['market', 'Market'],
        [`symbol/${SYMBOL}`, SYMBOL],
      ] as const) {
        await open(page, system, address, heading);
        await expect(page.getByText(/trades missing since/)).toBeVisible();
        if (address !== 'market') {
          await expect(page.getByRole('img', { name: /; trades are missing in some$/ })).toBeVisible();
          await expect.poll(() => pixelsOf(page, '--warn-wash')).toBeGreaterThan(1_000);
          await page.getByText('The newest candles as a table').click();
        }
        expect(await findings(page), `${address} ${colorScheme} ${size.width}`).toEqual([]);
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        expect(width, `${address} is wider than the screen`).toBeLessThanOrEqual(size.width);
        await picture(page, `gaps-${address}-${colorScheme}-${size.width}`);
      }
      await page.goto(`${system.url}/prices`);
      await picture(page, `gaps-prices-${colorScheme}-${size.width}`);
    }
  }
  await open(page, system, `symbol/${SYMBOL}`, SYMBOL);
  await page.getByText('The newest candles as a table').click();
  const table = page.getByRole('group', { name: 'The newest candles' });
  await expect(table.getByRole('row', { name: /all are missing/ }).first()).toBeVisible();
  await expect(table.getByRole('row', { name: /some are missing/ }).first()).toBeVisible();

  await report(system, { from: ago(MISSING.from), to: ago(MISSING.to), state: 'filled', revision: 2 });
  await expect(page.getByText(/trades missing since/)).toBeHidden();
  await expect(table.getByRole('row', { name: /are missing/ })).toHaveCount(0);
  await expect.poll(() => pixelsOf(page, '--warn-wash')).toBe(0);
});
