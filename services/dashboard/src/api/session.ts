// The session of the person, shared by all tabs.
import { computed, effect, signal } from '@preact/signals';
import type { Session } from './types';

const KEY = 'tickbell.session';

function load(): Session | null {
  try {
    const session: Session | null = JSON.parse(localStorage.getItem(KEY) ?? 'null');
    return session && Date.parse(session.expires_at) > Date.now() ? session : null;
  } catch {
    // A browser may forbid storage; the session then lasts as long as the page.
    return null;
  }
}

export const session = signal<Session | null>(load());
export const user = computed(() => session.value?.user ?? null);
export const isOperator = computed(() => user.value?.role === 'operator');

effect(() => {
  const text = JSON.stringify(session.value);
  try {
    if (session.value) localStorage.setItem(KEY, text);
    else localStorage.removeItem(KEY);
  } catch {
    // As above.
  }
});

addEventListener('storage', (event) => {
  if (event.key === KEY || event.key === null) session.value = load();
});
