// The alerts of the person: new ones, those that exist, and why each has fired.
import { useSignal } from '@preact/signals';
import { alertSentence, condition, conditionWords, firingWords, type NewAlert, period } from '../alert-words';
import { api, ask, sentence } from '../api/client';
import { session } from '../api/session';
import type { Alert } from '../api/types';
import { count } from '../format';
import { symbols } from '../market-data';
import { alerts, alertsError, refreshAlerts } from '../notices';
import { Choice, Field, Form, Segments, typed } from '../parts/form';
import { useResource } from '../parts/resource';
import { Badge, List, Panel, SymbolLink, Time } from '../parts/small';
import { route } from '../router';

export function Alerts() {
  const person = session.value?.user;
  return (
    <>
      <h1 tabIndex={-1}>Alerts</h1>
      <div class="grid sides">
        <AlertForm email={person?.email ?? ''} symbol={route.value.query.get('symbol') ?? ''} />
        {person ? (
          <AlertList />
        ) : (
          <Panel title="Your alerts">
            <p class="empty">
              <a href="#/account">Sign in</a> to see your alerts here. Without an account, the mails of an alert have
              the link that ends it.
            </p>
          </Panel>
        )}
      </div>
    </>
  );
}

const SINCE: [string, string][] = [
  ['anchor', 'the last firing'],
  ['5m', '5 minutes before'],
  ['1h', '1 hour before'],
  ['24h', '24 hours before'],
  ['previous', 'the tick before'],
];
const COOLDOWNS: [string, string][] = ['0s', '5m', '30m', '1h', '1d'].map((text) => [
  text,
  text === '0s' ? 'none' : period(text),
]);

function read(fields: FormData, email: string): NewAlert {
  return {
    symbol: (typed(fields, 'symbol') ?? '').toUpperCase(),
    kind: (typed(fields, 'kind') ?? 'change') as NewAlert['kind'],
    value: typed(fields, 'value') ?? '',
    direction: (typed(fields, 'direction') ?? 'any') as NewAlert['direction'],
    since: typed(fields, 'since') ?? 'anchor',
    repeat: (typed(fields, 'repeat') ?? 'every') as NewAlert['repeat'],
    cooldown: typed(fields, 'cooldown') ?? '0s',
    email: typed(fields, 'email') ?? email,
  };
}

const POINTERS = {
  change: '/condition/change/percent',
  above: '/condition/price/above',
  below: '/condition/price/below',
};

function AlertForm({ email, symbol }: { email: string; symbol: string }) {
  const draft = useSignal<NewAlert>(read(new FormData(), email));
  const { kind } = draft.value;
  const isChange = kind === 'change';
  const words = alertSentence({ ...draft.value, symbol: draft.value.symbol || symbol });

  async function create(fields: FormData) {
    const alert = read(fields, email);
    const { cooldown, repeat } = alert;
    const body = {
      symbol: alert.symbol,
      condition: condition(alert),
      repeat,
      cooldown,
      notify: { email: alert.email },
    };
    const { status, warnings } = await ask(api.POST('/v1/alerts', { body }));
    if (session.peek()) await refreshAlerts();
    const next =
      status === 'pending' ? `We have sent a mail to ${alert.email}; its link turns the alert on.` : 'The alert is on.';
    return [next, ...warnings].join(' ');
  }

  return (
    <Panel title="New alert">
      <Form
        label="New alert"
        button="Create the alert"
        onSend={create}
        onInput={(fields) => {
          draft.value = read(fields, email);
        }}
      >
        <Field label="Symbol" name="symbol" value={symbol} list="symbols" placeholder="BTC-USD" uppercase required />
        <datalist id="symbols">
          {(symbols.value ?? []).map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
        <Segments
          label="When the price"
          name="kind"
          value="change"
          options={[
            ['change', 'changes by'],
            ['above', 'reaches or passes'],
            ['below', 'falls to'],
          ]}
        />
        <Field
          key={kind}
          label={isChange ? 'Percent' : 'Price'}
          name="value"
          pointer={POINTERS[kind]}
          inputMode="decimal"
          pattern="[0-9]+([.][0-9]+)?"
          hint={isChange ? '0.01 to 1000, with a decimal point' : 'In the quote currency, with a decimal point'}
          required
        />
        {isChange && (
          <div class="pair">
            <Choice
              label="Direction"
              name="direction"
              options={[
                ['any', 'up or down'],
                ['up', 'up'],
                ['down', 'down'],
              ]}
            />
            <Choice label="Measured from" name="since" options={SINCE} />
          </div>
        )}
        <div class="pair">
          <Choice
            label="Repeat"
            name="repeat"
            options={[
              ['every', 'each time'],
              ['once', 'once'],
            ]}
          />
          <Choice label="Pause after a mail" name="cooldown" options={COOLDOWNS} />
        </div>
        <Field
          label="Mail to"
          name="email"
          type="email"
          pointer="/notify/email"
          value={email}
          autocomplete="email"
          required
        />
        <p class="sentence" aria-live="polite">
          {words ?? 'The alert is described here as you fill in the form.'}
        </p>
      </Form>
    </Panel>
  );
}

function AlertList() {
  const wanted = route.value.query.get('alert');
  if (alerts.value === null) {
    return (
      <Panel title="Your alerts">
        <p class="empty">{alertsError.value ? sentence(alertsError.value) : 'Loading…'}</p>
      </Panel>
    );
  }
  return (
    <Panel title="Your alerts" aside={<span class="soft">{count(alerts.value.length)}</span>}>
      {alerts.value.length === 0 && <p class="empty">You have no alert yet.</p>}
      <ul class="cards">
        {alerts.value.map((alert) => (
          <AlertCard key={alert.id} alert={alert} isOpen={alert.id === wanted} />
        ))}
      </ul>
    </Panel>
  );
}

const TONES = {
  pending: 'warn',
  active: 'good',
  paused: 'calm',
  done: 'calm',
  expired: 'calm',
  deleted: 'bad',
} as const;

function AlertCard({ alert, isOpen }: { alert: Alert; isOpen: boolean }) {
  const error = useSignal<unknown>(null);
  const path = { id: alert.id };

  async function act(answer: Promise<unknown>) {
    error.value = null;
    try {
      await answer;
      await refreshAlerts();
    } catch (reason) {
      error.value = reason;
    }
  }
  const set = (status: 'active' | 'paused') =>
    act(ask(api.PATCH('/v1/alerts/{id}', { params: { path }, body: { status } })));
  const name = `${alert.symbol} ${conditionWords(alert.condition)}`;

  return (
    <li class="card">
      <div class="row">
        <SymbolLink symbol={alert.symbol} />
        <Badge tone={TONES[alert.status]}>{alert.status}</Badge>
        <span class="actions">
          {alert.status === 'active' && (
            <button type="button" aria-label={`Pause: ${name}`} onClick={() => set('paused')}>
              Pause
            </button>
          )}
          {alert.status === 'paused' && (
            <button type="button" aria-label={`Resume: ${name}`} onClick={() => set('active')}>
              Resume
            </button>
          )}
          <button
            type="button"
            aria-label={`Delete: ${name}`}
            onClick={() => act(ask(api.DELETE('/v1/alerts/{id}', { params: { path } })))}
          >
            Delete
          </button>
        </span>
      </div>
      <p>
        {conditionWords(alert.condition)}
        {alert.venue && ` at ${alert.venue}`}
      </p>
      <p class="soft">
        {alert.repeat === 'once' ? 'once' : 'each time'}, to {alert.notify.email}
        {alert.waiting_for && ' · waits for the first price of this symbol'}
        {alert.order && ` · its order is ${alert.order.status}`}
      </p>
      {error.value !== null && <p class="problem">{sentence(error.value)}</p>}
      {alert.firings > 0 && <Firings alert={alert} isOpen={isOpen} />}
      <Deliveries alert={alert} />
    </li>
  );
}

const DELIVERY_TONES: Record<string, 'good' | 'bad' | 'warn'> = { sent: 'good', failed: 'bad' };

/** What became of the mails, which may have taken several attempts. */
function Deliveries({ alert }: { alert: Alert }) {
  const open = useSignal(false);
  return (
    <details
      onToggle={(event) => {
        open.value = event.currentTarget.open;
      }}
    >
      <summary>Mails</summary>
      {open.value && <DeliveryList alert={alert} />}
    </details>
  );
}

function DeliveryList({ alert }: { alert: Alert }) {
  const params = { path: { id: alert.id } };
  const load = async () => (await ask(api.GET('/v1/alerts/{id}/deliveries', { params }))).items;
  const deliveries = useResource(load, [alert.id], ['deliveries']);
  return (
    <List of={deliveries} empty="No mail was sent about it yet.">
      {(items) => (
        <ol class="firings">
          {items.map((delivery) => (
            <li key={delivery.id}>
              <Time at={delivery.created_at} />
              <div>
                <Badge tone={DELIVERY_TONES[delivery.status] ?? 'warn'}>{delivery.status}</Badge> {delivery.kind}
                <ol class="attempts">
                  {delivery.attempts.map(({ number, outcome, detail, at }) => (
                    <li key={number} class="soft">
                      Attempt {number} at <Time at={at} />: {outcome}. {detail}
                    </li>
                  ))}
                  {delivery.next_attempt_at && (
                    <li class="soft">
                      The next attempt is at <Time at={delivery.next_attempt_at} />.
                    </li>
                  )}
                </ol>
              </div>
            </li>
          ))}
        </ol>
      )}
    </List>
  );
}

function Firings({ alert, isOpen }: { alert: Alert; isOpen: boolean }) {
  const open = useSignal(isOpen);
  return (
    <details
      open={open.value}
      onToggle={(event) => {
        open.value = event.currentTarget.open;
      }}
    >
      <summary>{alert.firings === 1 ? 'It has fired once' : `It has fired ${count(alert.firings)} times`}</summary>
      {open.value && <FiringList alert={alert} />}
    </details>
  );
}

/** The most firings that are shown; the API has them all. */
const MOST_FIRINGS = 50;

function FiringList({ alert }: { alert: Alert }) {
  const params = { path: { id: alert.id }, query: { limit: MOST_FIRINGS } };
  const load = async () => (await ask(api.GET('/v1/alerts/{id}/firings', { params }))).items;
  const firings = useResource(load, [alert.firings]);
  return (
    <List of={firings} empty="It has not fired.">
      {(items) => (
        <ol class="firings">
          {items.map((firing) => (
            <li key={firing.id}>
              <Time at={firing.fired_at} />
              <span>
                {firingWords(firing)}
                {firing.suppressed && <span class="soft"> Not mailed: {firing.suppressed}.</span>}
              </span>
            </li>
          ))}
        </ol>
      )}
    </List>
  );
}
