// Orders, what they have traded, and the money.
import { useComputed, useSignal } from '@preact/signals';
import { api, ask, sentence } from '../api/client';
import { isOperator, session } from '../api/session';
import type { Balance, Order, Posting, Trade } from '../api/types';
import { decimal, price, words } from '../format';
import { Field, Form, typed } from '../parts/form';
import { OrderTicket } from '../parts/order-ticket';
import { type Resource, useResource } from '../parts/resource';
import { Badge, List, Panel, SymbolLink, Table, Time } from '../parts/small';

/** How many rows a list begins with, and how many the API answers at most. */
const [FIRST, MOST] = [25, 1_000];

export function Orders() {
  return (
    <>
      <h1 tabIndex={-1}>Orders and balances</h1>
      {session.value ? (
        <Trading />
      ) : (
        <Panel title="Paper trading">
          <p class="empty">
            <a href="#/account">Sign in</a> to trade with paper money.
          </p>
        </Panel>
      )}
    </>
  );
}

function Trading() {
  const balances = useResource(async () => (await ask(api.GET('/v1/accounts'))).items, [], ['trades', 'orders']);
  return (
    <>
      <div class="grid sides">
        <Panel title="New order">
          <OrderTicket onPlaced={balances.reload} />
        </Panel>
        <div class="grid">
          <Balances of={balances} />
          {isOperator.value && <Deposit onDone={balances.reload} />}
        </div>
      </div>
      <OrderList />
      <TradeList />
      <Ledger />
    </>
  );
}

function Balances({ of }: { of: Resource<Balance[]> }) {
  return (
    <Panel title="Balances">
      <List of={of} empty="You have no money yet. An operator deposits it.">
        {(balances) => (
          <Table
            label="Balances"
            head={
              <>
                <th scope="col">Asset</th>
                <th scope="col" class="number">
                  Available
                </th>
                <th scope="col" class="number">
                  Held
                </th>
                <th scope="col" class="number">
                  Total
                </th>
              </>
            }
          >
            {balances.map(({ asset, available, held, total }) => (
              <tr key={asset}>
                <th scope="row">{asset}</th>
                <td class="number">{decimal(available)}</td>
                <td class="number soft">{decimal(held)}</td>
                <td class="number">{decimal(total)}</td>
              </tr>
            ))}
          </Table>
        )}
      </List>
    </Panel>
  );
}

function Deposit({ onDone }: { onDone(): void }) {
  async function deposit(fields: FormData, form: HTMLFormElement) {
    const body = {
      email: typed(fields, 'email') ?? '',
      asset: (typed(fields, 'asset') ?? '').toUpperCase(),
      amount: typed(fields, 'amount') ?? '',
    };
    const params = { header: { Prefer: 'wait=5' } };
    const { status, amount, asset } = await ask(api.POST('/v1/deposits', { params, body }));
    form.reset();
    onDone();
    return `${decimal(amount)} ${asset} ${status === 'posted' ? 'are posted' : 'are received and soon posted'}.`;
  }
  return (
    <Panel title="Deposit">
      <Form label="Deposit" button="Deposit" onSend={deposit}>
        <Field label="Email of the user" name="email" type="email" autocomplete="off" required />
        <div class="pair">
          <Field label="Amount" name="amount" inputMode="decimal" required />
          <Field label="Asset" name="asset" placeholder="USD" uppercase required />
        </div>
      </Form>
    </Panel>
  );
}

/** A list of the newest, which becomes longer on demand. */
function useNewest<T>(
  load: (limit: number) => Promise<{ items: T[]; next_cursor?: string | null }>,
  channel: 'orders' | 'trades',
) {
  const limit = useSignal(FIRST);
  const more = useSignal(false);
  const list = useResource(
    async () => {
      const { items, next_cursor } = await load(limit.peek());
      more.value = Boolean(next_cursor);
      return items;
    },
    [limit.value],
    [channel],
  );
  const button = useComputed(() => more.value && limit.value < MOST);
  const footer = button.value ? (
    <button
      type="button"
      class="link more"
      onClick={() => {
        limit.value = Math.min(MOST, limit.value * 2);
      }}
    >
      Show more
    </button>
  ) : null;
  return { list, footer };
}

const TONES = {
  received: 'calm',
  open: 'warn',
  filled: 'good',
  cancelled: 'calm',
  expired: 'calm',
  rejected: 'bad',
} as const;

function OrderList() {
  const load = (limit: number) => ask(api.GET('/v1/orders', { params: { query: { limit } } }));
  const { list, footer } = useNewest<Order>(load, 'orders');
  const error = useSignal<unknown>(null);

  async function cancel(id: string) {
    error.value = null;
    try {
      const params = { path: { id }, header: { Prefer: 'wait=5' } };
      await ask(api.DELETE('/v1/orders/{id}', { params }));
    } catch (reason) {
      error.value = reason;
    }
    await list.reload();
  }

  return (
    <Panel title="Orders">
      {error.value !== null && (
        <p role="alert" class="problem">
          {sentence(error.value)}
        </p>
      )}
      <List of={list} empty="You have placed no order yet.">
        {(orders) => (
          <Table
            label="Orders"
            head={
              <>
                <th scope="col">Placed</th>
                <th scope="col">Order</th>
                <th scope="col">Symbol</th>
                <th scope="col" class="number">
                  Price
                </th>
                <th scope="col">Status</th>
                <th scope="col">
                  <span class="unseen">Actions</span>
                </th>
              </>
            }
          >
            {orders.map((order) => (
              <tr key={order.id}>
                <td>
                  <Time at={order.placed_at} />
                </td>
                <td>
                  <span class={order.side === 'buy' ? 'up' : 'down'}>{order.side}</span> {amount(order)} · {order.type}
                </td>
                <td>
                  <SymbolLink symbol={order.symbol} />
                </td>
                <td class="number">{orderPrice(order)}</td>
                <td>
                  <Badge tone={TONES[order.status]}>{order.status}</Badge>{' '}
                  {order.reason && <span class="soft">{words(order.reason)}</span>}
                </td>
                <td class="number">
                  {order.status === 'open' && (
                    <button type="button" class="link" onClick={() => cancel(order.id)}>
                      Cancel<span class="unseen"> the order of {order.symbol}</span>
                    </button>
                  )}
                </td>
              </tr>
            ))}
          </Table>
        )}
      </List>
      {footer}
    </Panel>
  );
}

function amount({ size, funds, trade }: Order): string {
  if (size) return decimal(size);
  return trade ? decimal(trade.size) : `for ${funds ? decimal(funds) : '?'}`;
}

function orderPrice({ trade, price: limit, stop_price }: Order): string {
  const shown = trade?.price ?? limit ?? stop_price;
  return shown ? price(shown) : '–';
}

function TradeList() {
  const load = (limit: number) => ask(api.GET('/v1/trades', { params: { query: { limit } } }));
  const { list, footer } = useNewest<Trade>(load, 'trades');
  return (
    <Panel title="Trades">
      <List of={list} empty="None of your orders has traded yet.">
        {(trades) => (
          <Table
            label="Trades"
            head={
              <>
                <th scope="col">Time</th>
                <th scope="col">Trade</th>
                <th scope="col">Symbol</th>
                <th scope="col" class="number">
                  Price
                </th>
                <th scope="col" class="number">
                  Total
                </th>
                <th scope="col" class="number">
                  Fee
                </th>
              </>
            }
          >
            {trades.map((trade) => (
              <tr key={trade.id}>
                <td>
                  <Time at={trade.at} />
                </td>
                <td>
                  <span class={trade.side === 'buy' ? 'up' : 'down'}>{trade.side}</span> {decimal(trade.size)}
                </td>
                <td>
                  <SymbolLink symbol={trade.symbol} />
                </td>
                <td class="number">{price(trade.price)}</td>
                <td class="number">{decimal(trade.quote_amount)}</td>
                <td class="number soft">{decimal(trade.fee)}</td>
              </tr>
            ))}
          </Table>
        )}
      </List>
      {footer}
    </Panel>
  );
}

function Ledger() {
  const load = (limit: number) => ask(api.GET('/v1/ledger', { params: { query: { limit } } }));
  const { list, footer } = useNewest<Posting>(load, 'trades');
  return (
    <Panel title="Ledger">
      <List of={list} empty="Nothing has been posted to your accounts yet.">
        {(postings) => (
          <Table
            label="Ledger"
            head={
              <>
                <th scope="col" class="number">
                  Posting
                </th>
                <th scope="col">Time</th>
                <th scope="col">Kind</th>
                <th scope="col">Entries</th>
                <th scope="col">Hash</th>
              </>
            }
          >
            {postings.map(({ id, at, kind, entries, hash }) => (
              <tr key={id}>
                <td class="number">{id}</td>
                <td>
                  <Time at={at} />
                </td>
                <td>{kind}</td>
                <td>
                  {entries.map(({ account, asset, amount }) => (
                    <span key={account + asset} class="entry">
                      {amount.startsWith('-') ? '' : '+'}
                      {decimal(amount)} {asset} <span class="soft">{account}</span>
                    </span>
                  ))}
                </td>
                <td>
                  <code title={hash}>{hash.slice(0, 8)}</code>
                </td>
              </tr>
            ))}
          </Table>
        )}
      </List>
      {footer}
    </Panel>
  );
}
