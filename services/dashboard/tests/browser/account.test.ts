import { expect, open, PASSWORD, signIn, signUp, test } from './fixtures';

test('an account has keys, a password, its data, and an end', async ({ page, system }) => {
  const email = 'bob@example.com';
  await signUp(page, system, email);
  await signIn(page, system, email);

  const keys = page.getByRole('form', { name: 'New API key' });
  await keys.getByLabel('Name').fill('my program');
  await keys.getByLabel('Place and cancel orders').check();
  await keys.getByRole('button', { name: 'Make a key' }).click();
  const key = await page.getByText(/^tbk_/).textContent();
  const answer = await fetch(`${system.url}/v1/accounts`, { headers: { Authorization: `Bearer ${key}` } });
  expect(answer.status).toBe(200);
  await page.getByRole('button', { name: 'Revoke my program' }).click();
  await expect(page.getByRole('row', { name: /my program .+ revoked/ })).toBeVisible();

  const downloaded = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Download my data' }).click();
  expect((await downloaded).suggestedFilename()).toBe('tickbell-export.json');

  const change = page.getByRole('form', { name: 'Change the password' });
  await change.getByLabel('Current password').fill('not the password');
  await change.getByLabel('New password').fill(`${PASSWORD} 2`);
  await change.getByRole('button').click();
  await expect(change.getByRole('status')).not.toBeEmpty();
  await change.getByLabel('Current password').fill(PASSWORD);
  await change.getByRole('button').click();
  await expect(page.getByText('Your password is changed. Every other session has ended.')).toBeVisible();

  await page.reload();
  await expect(page.getByRole('button', { name: 'Sign out' })).toBeVisible();
  await page.getByText('Erase my account').first().click();
  const erase = page.getByRole('form', { name: 'Erase my account' });
  await erase.getByRole('textbox').fill(email);
  await erase.getByRole('button').click();
  await expect(page.getByRole('form', { name: 'Sign in' })).toBeVisible();
});

test('a session that has ended elsewhere ends here', async ({ page, system }) => {
  const email = 'cyd@example.com';
  await signUp(page, system, email);
  await signIn(page, system, email);
  const token = await page.evaluate(() => JSON.parse(localStorage.getItem('tickbell.session') ?? '{}').token);
  await fetch(`${system.url}/v1/sessions`, { method: 'DELETE', headers: { Authorization: `Bearer ${token}` } });
  await expect(page.getByRole('form', { name: 'Sign in' })).toBeVisible();
  await open(page, system, 'orders', 'Orders and balances');
  await expect(page.getByText('Sign in to trade with paper money.')).toBeVisible();
});
