// Where prices come from, and whether everything works.
import { useSignal } from '@preact/signals';
import { ApiError, api, ask, send, sentence } from '../api/client';
import { isOperator } from '../api/session';
import type { Feed } from '../api/types';
import { count, words } from '../format';
import { DeadLetters } from '../parts/dead-letters';
import { Field, Form, typed } from '../parts/form';
import { usePolled } from '../parts/resource';
import { Age, Badge, List, Panel, SymbolLink, Table, Time } from '../parts/small';

export function System() {
  return (
    <>
      <h1 tabIndex={-1}>Feeds and system</h1>
      <Feeds />
      <Consumers />
      {isOperator.value && <DeadLetters />}
      <Health />
    </>
  );
}

const TONES = {
  live: 'good',
  starting: 'calm',
  stale: 'warn',
  reconnecting: 'warn',
  paused: 'calm',
  refused: 'bad',
  down: 'bad',
} as const;

function Feeds() {
  const feeds = usePolled(async () => (await ask(api.GET('/v1/feeds'))).items);
  const error = useSignal<unknown>(null);

  async function act(answer: Promise<unknown>) {
    error.value = null;
    await answer.catch((reason) => {
      error.value = reason;
    });
    await feeds.reload();
  }
  const set = ({ venue, symbol }: Feed, paused: boolean) =>
    act(ask(api.POST('/v1/feeds', { body: { venue, symbol, paused } })));
  const remove = ({ venue, symbol }: Feed) =>
    act(ask(api.DELETE('/v1/feeds/{venue}/{symbol}', { params: { path: { venue, symbol } } })));

  return (
    <Panel title="Feeds of exchanges">
      {error.value !== null && (
        <p role="alert" class="problem">
          {sentence(error.value)}
        </p>
      )}
      <List of={feeds} empty="No exchange is followed here: prices come from the simulator, a file or a price API.">
        {(items) => (
          <Table
            label="Feeds"
            head={
              <>
                <th scope="col">Symbol</th>
                <th scope="col">Venue</th>
                <th scope="col">State</th>
                <th scope="col" class="number">
                  Last trade
                </th>
                <th scope="col" class="number">
                  Trades a minute
                </th>
                <th scope="col">Gaps</th>
                {isOperator.value && (
                  <th scope="col">
                    <span class="unseen">Actions</span>
                  </th>
                )}
              </>
            }
          >
            {items.map((feed) => (
              <tr key={`${feed.venue} ${feed.symbol}`}>
                <th scope="row">
                  <SymbolLink symbol={feed.symbol} />
                </th>
                <td>{feed.venue}</td>
                <td>
                  <Badge tone={TONES[feed.state]}>{feed.state}</Badge>{' '}
                  {feed.detail && <span class="soft">{feed.detail}</span>}
                </td>
                <td class="number">{feed.last_trade_at ? <Age at={feed.last_trade_at} /> : 'never'}</td>
                <td class="number">{count(feed.trades_per_minute)}</td>
                <td>
                  {feed.open_gaps > 0 ? (
                    <>
                      <Badge tone="warn">{count(feed.open_gaps)}</Badge>{' '}
                      {feed.gap_from && (
                        <>
                          since <Time at={feed.gap_from} />
                        </>
                      )}
                    </>
                  ) : (
                    <span class="soft">none</span>
                  )}
                </td>
                {isOperator.value && (
                  <td class="number">
                    <button type="button" class="link" onClick={() => set(feed, feed.state !== 'paused')}>
                      {feed.state === 'paused' ? 'Resume' : 'Pause'}
                    </button>
                    <button type="button" class="link" onClick={() => remove(feed)}>
                      Remove
                    </button>
                  </td>
                )}
              </tr>
            ))}
          </Table>
        )}
      </List>
      {isOperator.value && <Follow onDone={feeds.reload} />}
    </Panel>
  );
}

function Follow({ onDone }: { onDone(): Promise<void> }) {
  async function follow(fields: FormData, form: HTMLFormElement) {
    const body = { venue: typed(fields, 'venue') ?? '', symbol: (typed(fields, 'symbol') ?? '').toUpperCase() };
    const { venue, symbol } = await ask(api.POST('/v1/feeds', { body }));
    form.reset();
    await onDone();
    return `${symbol} is followed at ${venue}.`;
  }
  return (
    <Form label="Follow a symbol" button="Follow" onSend={follow}>
      <div class="pair">
        <Field label="Venue" name="venue" placeholder="coinbase" required />
        <Field label="Symbol" name="symbol" placeholder="BTC-USD" uppercase required />
      </div>
    </Form>
  );
}

/** How far what happens is applied, and whether mails go out. */
function Consumers() {
  const system = usePolled(() => ask(api.GET('/v1/system')));
  const { consumers = [], deliveries } = system.value.value ?? {};
  return (
    <Panel title="Consumers and mails">
      {system.error.value !== null && <p class="problem">{sentence(system.error.value)}</p>}
      {deliveries && (
        <p>
          {count(deliveries.waiting)} mails wait, and{' '}
          <span class={deliveries.failed > 0 ? 'problem' : undefined}>{count(deliveries.failed)} have failed</span>.{' '}
          {deliveries.outage && <span class="problem">{deliveries.outage}</span>}
        </p>
      )}
      <Table
        label="Consumers"
        head={
          <>
            <th scope="col">Consumer</th>
            <th scope="col" class="number">
              Position
            </th>
            <th scope="col" class="number">
              Last event
            </th>
          </>
        }
      >
        {consumers.map(({ name, position, last_event_at }) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td class="number">{count(position)}</td>
            <td class="number">{last_event_at ? <Age at={last_event_at} /> : 'never'}</td>
          </tr>
        ))}
      </Table>
    </Panel>
  );
}

interface Check {
  state: 'starting' | 'ready' | 'standby' | 'failing' | 'degraded';
  detail?: string;
}

const CHECK_TONES = { ready: 'good', standby: 'good', starting: 'calm', degraded: 'warn', failing: 'bad' } as const;

/** Asks the gateway about its parts. One that is not ready says so with status 503, and is no less an answer. */
async function readiness(): Promise<[name: string, check: Check][]> {
  const response = await send('/readyz');
  const isAnswer = response.headers.get('Content-Type')?.startsWith('application/json');
  if (!isAnswer) throw new ApiError(response.status, { detail: 'The state of the system is not public here.' });
  const { checks } = (await response.json()) as { checks: Record<string, Check> };
  return Object.entries(checks);
}

function Health() {
  const checks = usePolled(readiness);
  return (
    <Panel title="Parts of the system">
      <List of={checks} empty="There is nothing to check.">
        {(items) => (
          <ul class="cards tiles">
            {items.map(([name, { state, detail }]) => (
              <li key={name} class="card">
                <p class="row">
                  {words(name)} <Badge tone={CHECK_TONES[state]}>{state}</Badge>
                </p>
                {detail && <p class="soft">{detail}</p>}
              </li>
            ))}
          </ul>
        )}
      </List>
    </Panel>
  );
}
