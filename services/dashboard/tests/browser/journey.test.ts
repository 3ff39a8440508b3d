import { expect, open, signIn, signUp, test } from './fixtures';

test('a person signs up, is funded, makes an alert, sees it fire, and trades, without a reload', async ({
  page,
  system,
}) => {
  const email = 'ada@example.com';
  await signUp(page, system, email);
  await system.command('accounts', 'role', email, 'operator');
  await signIn(page, system, email);

  await page.getByRole('link', { name: 'Orders' }).click();
  const deposit = page.getByRole('form', { name: 'Deposit' });
  await deposit.getByLabel('Email of the user').fill(email);
  await deposit.getByLabel('Amount').fill('10000.00');
  await deposit.getByLabel('Asset').fill('usd');
  await deposit.getByRole('button', { name: 'Deposit' }).click();
  await expect(page.getByText('10,000.00 USD are posted.')).toBeVisible();
  await expect(page.getByRole('row', { name: /^USD 10,000\.00/ })).toBeVisible();

  await page.getByRole('link', { name: 'Alerts' }).click();
  await page.getByLabel('Symbol').fill('BTC-USD');
  await page.getByLabel('Percent').fill('0.01');
  await page.getByLabel('Measured').selectOption('previous');
  await expect(
    page.getByText(`When BTC-USD moves by 0.01 % or more from one tick to the next, we mail ${email} each time.`),
  ).toBeVisible();
  await page.getByRole('button', { name: 'Create the alert' }).click();
  await expect(page.getByText('The alert is on.')).toBeVisible();
  const firings = page.getByRole('log', { name: 'Firings' });
  await expect(firings.getByText(/BTC-USD: The price was .+ from /).first()).toBeVisible();
  await page.getByText(/It has fired/).click();
  await expect(
    page
      .getByRole('listitem')
      .getByText(/The price was .+ from /)
      .first(),
  ).toBeVisible();
  await page.getByText('Mails', { exact: true }).click();
  await expect(page.getByText(/^Attempt 1 at .+: sent\./).first()).toBeVisible();
  await page.getByRole('button', { name: /^Delete: BTC-USD/ }).click();
  await expect(page.getByText('You have no alert yet.')).toBeVisible();

  await page.getByRole('link', { name: 'Orders' }).click();
  const ticket = page.getByRole('form', { name: 'Order ticket' });
  await ticket.getByLabel('Symbol').fill('BTC-USD');
  await ticket.getByLabel('Funds').fill('1000.00');
  await ticket.getByRole('button', { name: 'Place the order to buy' }).click();
  await expect(page.getByText(/^Bought .+ BTC-USD at .+\.$/)).toBeVisible();
  await expect(page.getByRole('row', { name: /buy .+ market BTC-USD .+ filled/ })).toBeVisible();
  await expect(
    page
      .getByRole('region', { name: 'Trades' })
      .getByRole('row', { name: /buy .+ BTC-USD/ })
      .first(),
  ).toBeVisible();
  await expect(page.getByRole('row', { name: /^BTC 0\.0/ })).toBeVisible();

  await ticket.getByLabel('Type').selectOption('limit');
  await ticket.getByLabel('Size').fill('0.01');
  await ticket.getByLabel('Limit price').fill('1');
  await ticket.getByRole('button', { name: 'Place the order to buy' }).click();
  await expect(page.getByText('The order is open.')).toBeVisible();
  await page.getByRole('button', { name: 'Cancel the order of BTC-USD' }).click();
  await expect(page.getByRole('row', { name: /limit BTC-USD 1\.00 cancelled/ })).toBeVisible();
});

test('the first price is seen and moves by itself', async ({ page, system }) => {
  // A browser that has never seen the page, on a machine that has.
  await page.goto(`${system.url}/prices`);
  const began = Date.now();
  await page.goto(`${system.url}/`);
  const price = page.getByRole('row', { name: /^BTC-USD/ }).locator('.price');
  await price.waitFor();
  // A shared machine decides nothing; the aim is a second.
  test.info().annotations.push({ type: 'first price', description: `${Date.now() - began} ms` });
  const first = await price.textContent();
  await expect(price).not.toHaveText(first ?? '');
});

test('where there is no stream the prices move all the same', async ({ page, system }) => {
  await page.route('**/v1/stream?*', (route) => route.fulfill({ status: 404 }));
  await open(page, system, 'market', 'Market');
  await expect(page.getByText('Every 2 s')).toBeVisible();
  const price = page.getByRole('row', { name: /^BTC-USD/ }).locator('.price');
  const before = await price.textContent();
  await expect(price).not.toHaveText(before ?? '');
});

test('the market is sorted and filtered', async ({ page, system }) => {
  await open(page, system, 'market', 'Market');
  await page.getByRole('button', { name: 'Price' }).click();
  const first = page.getByRole('row').nth(1);
  await expect(first).toContainText('BTC-USD');
  await page.getByRole('button', { name: 'Price' }).click();
  await expect(first).toContainText('DOGE-USD');
  await page.getByLabel('Filter by symbol or venue').fill('eth');
  await expect(page.getByRole('row')).toHaveCount(2);
  await page.getByLabel('Filter by symbol or venue').fill('nothing');
  await expect(page.getByText('No symbol matches “nothing”.')).toBeVisible();
});

test('a symbol has a chart, ticks that move, and candles as a table', async ({ page, system }) => {
  await open(page, system, 'symbol/BTC-USD', 'BTC-USD');
  await expect(
    page
      .getByRole('img', { name: /candles? of 1m of BTC-USD, from/ })
      .locator('canvas')
      .first(),
  ).toBeVisible();
  await page.getByText('The newest candles as a table').click();
  await expect(page.getByRole('group', { name: 'The newest candles' }).getByRole('row').nth(1)).toBeVisible();
  const newest = page.getByRole('region', { name: 'Recent ticks' }).getByRole('row').nth(1);
  const before = await newest.textContent();
  await expect(newest).not.toHaveText(before ?? '');
  await page.getByRole('radio', { name: '5m', exact: true }).check();
  await expect(page.getByRole('img', { name: /of 5m of BTC-USD/ })).toBeVisible();
});

test('what is wrong is said beside the field, in the words of the API', async ({ page, system }) => {
  await open(page, system, 'alerts', 'Alerts');
  await page.getByLabel('Symbol').fill('BTC-XXXX');
  await page.getByLabel('Percent').fill('5');
  await page.getByLabel('Mail to').fill('eve@example.com');
  await page.getByRole('button', { name: 'Create the alert' }).click();
  const symbol = page.getByLabel('Symbol');
  await expect(symbol).toHaveAttribute('aria-invalid');
  await expect(symbol).toBeFocused();
  await expect(symbol).toHaveAccessibleDescription(/^It /);
});

test('the page says that the server is away, and goes on when it is back', async ({ page, system }) => {
  await open(page, system, 'market', 'Market');
  const price = page.getByRole('row', { name: /^BTC-USD/ }).locator('.price');
  await price.waitFor();
  await system.restart(async () => {
    await expect(page.getByText(/^Reconnecting\. What you see is from .+ ago\.$/)).toBeVisible();
  });
  await expect(page.getByText(/^Reconnecting\./)).toBeHidden();
  const before = await price.textContent();
  await expect(price).not.toHaveText(before ?? '');
});

test('the prices are a table without JavaScript', async ({ browser, system }) => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(`${system.url}/prices`);
  await expect(page.getByRole('row', { name: /^BTC-USD/ })).toContainText(/simulator[\s\S]+[0-9.,]+/);
  await page.goto(`${system.url}/`);
  await page.getByRole('link', { name: 'The prices as a table' }).click();
  await expect(page.getByRole('heading', { name: 'Latest prices' })).toBeVisible();
  await context.close();
});

test('an operator sees what services have given up, and has it published again', async ({ page, system }) => {
  const email = 'grace@example.com';
  await system.publish('ticks.test.BTC-USD', 'no page of ticks');
  await open(page, system, 'system', 'Feeds and system');
  await expect(page.getByRole('region', { name: 'Parts of the system' })).toBeVisible();
  await expect(page.getByRole('region', { name: 'Dead letters' })).toHaveCount(0);

  await signUp(page, system, email);
  await system.command('accounts', 'role', email, 'operator');
  await signIn(page, system, email);
  await open(page, system, 'system', 'Feeds and system');
  const letters = page.getByRole('region', { name: 'Dead letters' });
  await expect(letters.getByText(/gave it up: its body is not a ticks\.v1/)).toBeVisible();
  await letters.getByText('Body', { exact: true }).click();
  await expect(letters.getByText('no page of ticks')).toBeVisible();
  await letters.getByRole('button', { name: 'Replay dead letter 1' }).click();
  await expect(letters.getByText('Dead letter 1 is published again by the history-writer.')).toBeVisible();
  // It is given up again, under another number.
  await expect(letters.getByRole('button', { name: 'Replay dead letter 2' })).toBeVisible();
  await expect(letters.getByRole('button', { name: 'Replay dead letter 1' })).toHaveCount(0);
  if (process.env.PICTURES) await letters.screenshot({ path: `${process.env.PICTURES}/dead-letters.png` });
});
