// A running system, a person who is signed in, and what is looked for on each page.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { test as base, expect, type Page } from '@playwright/test';
import type axe from 'axe-core';
import { System } from './system';

export { expect };

export const PASSWORD = 'correct horse battery staple';

export const test = base.extend<object, { system: System }>({
  system: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names that a fixture needs from its pattern.
    async ({}, use) => {
      const system = await System.start();
      await use(system);
      await system.stop();
    },
    { scope: 'worker', timeout: 180_000 },
  ],
});

/** Opens a page of the dashboard and waits for its heading. */
export async function open(page: Page, system: System, address: string, heading: string) {
  await page.goto(`${system.url}/#/${address}`);
  await expect(page.getByRole('heading', { level: 1, name: heading })).toBeVisible();
}

/** Makes an account with the link of its mail, as a person does. */
export async function signUp(page: Page, system: System, email: string) {
  await open(page, system, 'account', 'Account');
  await page.getByRole('button', { name: 'Sign up' }).click();
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign up', exact: true }).click();
  await expect(page.getByText(`We have sent a mail to ${email}.`)).toBeVisible();
  const { pathname } = new URL(await system.link(email, 'join'));
  await page.goto(system.url + pathname);
  await page.getByRole('button', { name: 'Yes, create my account' }).click();
  await expect(page.getByRole('heading', { name: 'Your account is ready' })).toBeVisible();
}

export async function signIn(page: Page, system: System, email: string) {
  await open(page, system, 'account', 'Account');
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await expect(page.getByRole('button', { name: 'Sign out' })).toBeVisible();
}

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

declare global {
  interface Window {
    axe: typeof axe;
  }
}

/** What axe finds on a page. */
export async function findings(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() =>
    window.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }),
  );
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`));
}

/** Takes a picture for people to look at, where PICTURES names a folder. */
export async function picture(page: Page, name: string) {
  const folder = process.env.PICTURES;
  if (folder) await page.screenshot({ path: `${folder}/${name.replaceAll(/\W+/g, '-')}.png`, fullPage: true });
}
