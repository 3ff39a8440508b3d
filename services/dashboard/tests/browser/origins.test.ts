import { expect, signIn, signUp, test } from './fixtures';
import { serveStatic } from './split-origin';

test('the dashboard works on a server of its own, with the API elsewhere', async ({ page, system }) => {
  const email = 'fay@example.com';
  await signUp(page, system, email);
  const site = await serveStatic(system.url);
  try {
    const refused: string[] = [];
    page.on('console', (message) => {
      if (/Content Security Policy|CORS/.test(message.text())) refused.push(message.text());
    });
    await page.goto(site.url);
    const price = page.getByRole('row', { name: /^BTC-USD/ }).locator('.price');
    const first = await price.textContent();
    await expect(price).not.toHaveText(first ?? '');
    await signIn(page, { ...system, url: site.url } as typeof system, email);
    await page.getByRole('link', { name: 'System' }).click();
    await expect(page.getByRole('rowheader', { name: 'history-writer' })).toBeVisible();
    expect(refused).toEqual([]);
  } finally {
    site.close();
  }
});

test('nothing comes from another site, and nothing is inline', async ({ page, system }) => {
  const foreign: string[] = [];
  const complaints: string[] = [];
  page.on('request', (request) => {
    if (!request.url().startsWith(system.url) && !request.url().startsWith('blob:')) foreign.push(request.url());
  });
  page.on('console', (message) => {
    if (/Content Security Policy/.test(message.text())) complaints.push(message.text());
  });
  for (const address of ['market', 'symbol/BTC-USD', 'alerts', 'orders', 'system', 'account']) {
    await page.goto(`${system.url}/#/${address}`);
    await expect(page.getByText('Loading…')).toHaveCount(0);
  }
  await expect(page.getByRole('heading', { name: 'Account' })).toBeVisible();
  expect([foreign, complaints]).toEqual([[], []]);
});

test('the browser is not sent again what it has', async ({ page, system }) => {
  await page.goto(`${system.url}/`);
  await page.getByRole('row', { name: /^BTC-USD/ }).waitFor();
  const sent = new Map<string, string>();
  page.on('response', (response) => {
    const { pathname } = new URL(response.url());
    sent.set(pathname, response.fromServiceWorker() ? 'worker' : String(response.status()));
  });
  await page.goto('about:blank');
  const [index] = await Promise.all([page.waitForResponse(`${system.url}/`), page.goto(`${system.url}/`)]);
  expect(index.headers()['content-security-policy']).toContain("default-src 'none'");
  await page.getByRole('row', { name: /^BTC-USD/ }).waitFor();
  const timing = await page.evaluate(() =>
    performance.getEntriesByType('resource').map((entry) => {
      const { name, transferSize } = entry as PerformanceResourceTiming;
      return { name, transferSize };
    }),
  );
  const assets = timing.filter(({ name }) => name.includes('/assets/'));
  expect(assets.length).toBeGreaterThan(1);
  expect(assets.filter(({ transferSize }) => transferSize > 0)).toEqual([]);
});
