// What surrounds every page: the name, the ways to the pages, and what the person must know at once.
import { useEffect } from 'preact/hooks';
import { user } from './api/session';
import { now } from './clock';
import { age } from './format';
import { live } from './live';
import { usePrices } from './market-data';
import { dismiss, notices, useFirings } from './notices';
import { Account } from './pages/account';
import { Alerts } from './pages/alerts';
import { Market } from './pages/market';
import { Orders } from './pages/orders';
import { SymbolPage } from './pages/symbol';
import { System } from './pages/system';
import { route } from './router';

const PAGES: [name: string, label: string][] = [
  ['market', 'Market'],
  ['alerts', 'Alerts'],
  ['orders', 'Orders'],
  ['system', 'System'],
  ['account', 'Account'],
];

export function Shell() {
  const { page } = route.value;
  usePrices();
  useFirings();

  useEffect(() => {
    const heading = document.querySelector<HTMLElement>('h1');
    document.title = `${heading?.textContent ?? 'Market prices'} · Tickbell`;
    // The first page is announced by the browser; later ones by their heading.
    if (document.activeElement !== document.body) heading?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [page, route.value.rest]);

  return (
    <>
      <button type="button" class="skip" onClick={() => document.getElementById('content')?.focus()}>
        Skip to the content
      </button>
      <header class="bar">
        <a class="name" href="#/market">
          Tickbell
        </a>
        <nav aria-label="Pages">
          {PAGES.map(([name, label]) => (
            <a key={name} href={`#/${name}`} aria-current={isAt(page, name) ? 'page' : undefined}>
              {label}
            </a>
          ))}
        </nav>
        <Connection />
      </header>
      <Banner />
      <main id="content" tabIndex={-1}>
        <Page key={page + route.value.rest} name={page} />
      </main>
      <Notices />
      <footer>
        <a href="docs/">API</a> · Charts by{' '}
        <a href="https://www.tradingview.com/" rel="noreferrer">
          TradingView
        </a>
      </footer>
    </>
  );
}

/** The page of a symbol belongs to the market. */
function isAt(page: string, name: string): boolean {
  return page === name || (page === 'symbol' && name === 'market');
}

function Page({ name }: { name: string }) {
  switch (name) {
    case 'market':
      return <Market />;
    case 'symbol':
      return <SymbolPage symbol={route.value.rest} />;
    case 'alerts':
      return <Alerts />;
    case 'orders':
      return <Orders />;
    case 'system':
      return <System />;
    case 'account':
      return <Account />;
    default:
      return (
        <>
          <h1 tabIndex={-1}>No such page</h1>
          <p>
            The address <code>#/{name}</code> names no page. <a href="#/market">Go to the market.</a>
          </p>
        </>
      );
  }
}

const CONNECTION = {
  connecting: 'Connecting',
  streaming: 'Live',
  polling: 'Every 2 s',
  reconnecting: 'Reconnecting',
};

function Connection() {
  const state = live.state.value;
  return (
    <p class={`connection ${state}`}>
      <span>{CONNECTION[state]}</span>
      {user.value && <span class="person">{user.value.email}</span>}
    </p>
  );
}

/** An interruption that is over by then is nobody's business. */
const BRIEF_MS = 1_000;

/** Says that the connection is away, and afterwards what that has cost. */
function Banner() {
  const since = live.silentSince.value;
  const missed = live.missed.value;
  return (
    <div role="status" class="banners">
      {since !== null && now.value - since > BRIEF_MS && (
        <p class="banner warn">
          Reconnecting. What you see is from {age(new Date(since).toISOString(), now.value)} ago.
        </p>
      )}
      {since === null && missed && (
        <p class="banner">
          {missed}
          <button
            type="button"
            onClick={() => {
              live.missed.value = null;
            }}
          >
            Close
          </button>
        </p>
      )}
    </div>
  );
}

function Notices() {
  return (
    <div role="log" aria-label="Firings" class="notices">
      {notices.value.map((notice) => (
        <p key={notice.id} class="notice">
          <a href={notice.address}>{notice.text}</a>
          <button type="button" aria-label="Close" onClick={() => dismiss(notice.id)}>
            ×
          </button>
        </p>
      ))}
    </div>
  );
}
