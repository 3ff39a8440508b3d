// Everybody can use every page: with a screen reader, by the keyboard alone, on a phone, in the dark.
import type { Page } from '@playwright/test';
import { expect, findings, open, picture, signIn, signUp, test } from './fixtures';
import { eventually, type System } from './system';

const EMAIL = 'dan@example.com';
const PAGES: [address: string, heading: string][] = [
  ['market', 'Market'],
  ['symbol/BTC-USD', 'BTC-USD'],
  ['alerts', 'Alerts'],
  ['orders', 'Orders and balances'],
  ['system', 'Feeds and system'],
  ['account', 'Account'],
  ['nowhere', 'No such page'],
];
const [WIDE, PHONE] = [
  { width: 1280, height: 860 },
  { width: 390, height: 844 },
];

/** Makes an alert that fires at once and whose mail is sent, so that there is something to see. */
async function fire(page: Page, system: System) {
  const token = await page.evaluate(() => JSON.parse(localStorage.getItem('tickbell.session') ?? '{}').token);
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
  const condition = { change: { percent: '0.01', since: 'previous' } };
  const body = JSON.stringify({ symbol: 'BTC-USD', condition, repeat: 'once', notify: { email: EMAIL } });
  const created = await fetch(`${system.url}/v1/alerts`, { method: 'POST', headers, body });
  const { id } = (await created.json()) as { id: string };
  const sent = async () => {
    const answer = await fetch(`${system.url}/v1/alerts/${id}/deliveries`, { headers });
    const { items } = (await answer.json()) as { items: { status: string }[] };
    return items.some(({ status }) => status === 'sent') || undefined;
  };
  await eventually(sent, 30_000, 'the mail of an alert is sent');
}

test.describe
  .serial('every page', () => {
    for (const who of ['nobody', 'a person']) {
      test(`is without findings, and fits its screen, for ${who}`, async ({ page, system }) => {
        test.setTimeout(240_000);
        if (who !== 'nobody') {
          await signUp(page, system, EMAIL);
          await system.command('accounts', 'role', EMAIL, 'operator');
          await signIn(page, system, EMAIL);
          await fire(page, system);
        }
        for (const colorScheme of ['light', 'dark'] as const) {
          await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
          for (const size of [WIDE, PHONE]) {
            await page.setViewportSize(size);
            for (const [address, heading] of PAGES) {
              await open(page, system, address, heading);
              for (const summary of await page.locator('summary').all()) await summary.click();
              await expect(page.getByText('Loading…')).toHaveCount(0);
              expect(await findings(page), `${address} ${colorScheme} ${size.width}`).toEqual([]);
              const width = await page.evaluate(() => document.documentElement.scrollWidth);
              expect(width, `${address} is wider than the screen`).toBeLessThanOrEqual(size.width);
              await picture(page, `${address}-${who}-${colorScheme}-${size.width}`);
            }
          }
        }
      });
    }
  });

test('the prices as a table are without findings', async ({ page, system }) => {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    await page.goto(`${system.url}/prices`);
    expect(await findings(page), colorScheme).toEqual([]);
    await picture(page, `prices-${colorScheme}`);
  }
});

test('an alert is made by the keyboard alone', async ({ page, system }) => {
  await open(page, system, 'market', 'Market');
  const tabTo = async (name: RegExp) => {
    for (let step = 0; step < 60; step++) {
      await page.keyboard.press('Tab');
      const focused = await page.evaluate(() => {
        const element = document.activeElement as HTMLInputElement | null;
        return element?.labels?.[0]?.textContent ?? element?.getAttribute('aria-label') ?? element?.textContent ?? '';
      });
      if (name.test(focused)) return;
    }
    throw new Error(`No press of Tab leads to ${name}.`);
  };
  await page.keyboard.press('Tab');
  await expect(page.getByRole('button', { name: 'Skip to the content' })).toBeFocused();
  await tabTo(/^Alerts$/);
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1, name: 'Alerts' })).toBeFocused();
  await tabTo(/^Symbol$/);
  await page.keyboard.type('ETH-USD');
  await tabTo(/^changes by$/);
  await page.keyboard.press('ArrowRight');
  await tabTo(/^Price$/);
  await page.keyboard.type('100000');
  await tabTo(/^Mail to$/);
  await page.keyboard.type('eve@example.com');
  await expect(
    page.getByText('When ETH-USD reaches 100,000.00 or more, we mail eve@example.com each time.'),
  ).toBeVisible();
  await page.keyboard.press('Enter');
  await expect(page.getByText('We have sent a mail to eve@example.com; its link turns the alert on.')).toBeVisible();
});
