// The one connection of this page.
import { effect } from '@preact/signals';
import { send } from '../api/client';
import { session } from '../api/session';
import { Live } from './live';

export const live = new Live({ send, token: () => session.peek()?.token });

effect(() => {
  session.value?.token;
  live.forget();
});

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && live.state.peek() === 'polling') void live.refreshAll();
});
