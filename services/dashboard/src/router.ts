// The address of a page is in the hash: static files have no server that would answer for its path.
import { signal } from '@preact/signals';

export interface Route {
  page: string;
  /** What follows the name of the page, like the symbol of `#/symbol/BTC-USD`. */
  rest: string;
  query: URLSearchParams;
}

export function parseRoute(hash: string): Route {
  const [path = '', query] = hash.replace(/^#\/?/, '').split('?');
  const [page = '', ...rest] = path.split('/');
  return { page: page || 'market', rest: rest.map(decodeURIComponent).join('/'), query: new URLSearchParams(query) };
}

export const route = signal(parseRoute(location.hash));

addEventListener('hashchange', () => {
  route.value = parseRoute(location.hash);
});

export function symbolAddress(symbol: string): string {
  return `#/symbol/${encodeURIComponent(symbol)}`;
}
