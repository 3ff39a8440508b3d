// The alerts of the person, and what is said at once when one fires, on whatever page that is.
import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { firingWords } from './alert-words';
import { api, ask } from './api/client';
import { session } from './api/session';
import type { Alert, Firing } from './api/types';
import { live } from './live';

export interface Notice {
  id: string;
  text: string;
  address: string;
}

export const notices = signal<Notice[]>([]);
/** The newest alerts of the person; null before they were loaded. */
export const alerts = signal<Alert[] | null>(null);
export const alertsError = signal<unknown>(null);

const MOST_ALERTS = 1_000;
const MOST_NOTICES = 3;
/** A notice goes away by itself; the page of alerts keeps what it said. */
const NOTICE_MS = 15_000;

/** How often each alert has fired, as far as it was said. */
let said: Map<string, number> | undefined;

export async function refreshAlerts() {
  if (!session.peek()) return;
  try {
    const { items } = await ask(api.GET('/v1/alerts', { params: { query: { limit: MOST_ALERTS } } }));
    alerts.value = items;
    alertsError.value = null;
  } catch (error) {
    alertsError.value = error;
    throw error;
  }
  const before = said;
  said = new Map(alerts.value.map(({ id, firings }) => [id, firings]));
  // What fired before the page was opened is on the page of alerts.
  if (!before) return;
  for (const { id, firings } of alerts.value) {
    const unsaid = firings - (before.get(id) ?? 0);
    if (unsaid > 0) await announce(id, Math.min(unsaid, MOST_NOTICES));
  }
}

async function announce(id: string, limit: number) {
  const params = { path: { id }, query: { limit } };
  const { items } = await ask(api.GET('/v1/alerts/{id}/firings', { params }));
  const fresh = items.filter(({ suppressed }) => !suppressed).map(notice);
  notices.value = [...fresh, ...notices.value].slice(0, MOST_NOTICES);
  for (const { id } of fresh) setTimeout(() => dismiss(id), NOTICE_MS);
}

function notice(firing: Firing): Notice {
  const text = `${firing.symbol}: ${firingWords(firing)}`;
  return { id: firing.id, text, address: `#/alerts?alert=${firing.rule_id}` };
}

export function dismiss(id: string) {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

/** Follows the alerts of whoever is signed in. */
export function useFirings() {
  const token = session.value?.token;
  useEffect(() => {
    said = undefined;
    alerts.value = null;
    notices.value = [];
    if (!token) return;
    return live.listen({ channel: 'firings', refresh: refreshAlerts });
  }, [token]);
}
