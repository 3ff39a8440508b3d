// The form that places an order.
import { useSignal } from '@preact/signals';
import { api, ask } from '../api/client';
import type { Order } from '../api/types';
import { decimal, price, words } from '../format';
import { symbols } from '../market-data';
import { Choice, Field, Form, Segments, typed } from './form';

/** The time that an order gets to be decided before the page says that it is received, in seconds. */
const WAIT_SECONDS = 5;

interface Draft {
  side: string;
  type: string;
  by: string;
}

const DECIMAL = { inputMode: 'decimal', pattern: '[0-9]+([.][0-9]+)?' } as const;

/** The request that the fields of a ticket ask for. */
export function orderRequest(fields: FormData): Record<string, string | undefined> {
  const type = typed(fields, 'type');
  return {
    symbol: (typed(fields, 'symbol') ?? '').toUpperCase(),
    side: typed(fields, 'side'),
    type,
    size: typed(fields, 'size'),
    funds: typed(fields, 'funds'),
    price: typed(fields, 'price'),
    stop_price: typed(fields, 'stop_price'),
    time_in_force: type === 'limit' ? typed(fields, 'time_in_force') : undefined,
  };
}

/** A name that no other request has. Pages without TLS have no `randomUUID`. */
function requestName(): string {
  return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(18))));
}

/** What has become of an order, as a sentence. */
export function orderWords(order: Order): string {
  const verb = order.side === 'buy' ? 'Bought' : 'Sold';
  if (order.status === 'filled' && order.trade) {
    return `${verb} ${decimal(order.trade.size)} ${order.symbol} at ${price(order.trade.price)}.`;
  }
  if (order.status === 'rejected') return `The order is rejected: ${order.reason_detail ?? words(order.reason ?? '')}.`;
  return `The order is ${order.status}.`;
}

export function OrderTicket({ symbol, onPlaced }: { symbol?: string; onPlaced?: () => void }) {
  const draft = useSignal<Draft>({ side: 'buy', type: 'market', by: 'funds' });
  const { side, type, by } = draft.value;
  const byFunds = type === 'market' && side === 'buy' && by === 'funds';

  async function place(fields: FormData) {
    const header = { Prefer: `wait=${WAIT_SECONDS}`, 'Idempotency-Key': requestName() };
    // The API says what does not fit together, field by field.
    const body = orderRequest(fields) as never;
    const order = await ask(api.POST('/v1/orders', { params: { header }, body }));
    onPlaced?.();
    return orderWords(order);
  }

  return (
    <Form
      label="Order ticket"
      button={side === 'buy' ? 'Place the order to buy' : 'Place the order to sell'}
      onSend={place}
      onInput={(fields) => {
        draft.value = {
          side: typed(fields, 'side') ?? side,
          type: typed(fields, 'type') ?? type,
          by: typed(fields, 'by') ?? by,
        };
      }}
    >
      {symbol ? (
        <input type="hidden" name="symbol" value={symbol} />
      ) : (
        <>
          <Field label="Symbol" name="symbol" list="order-symbols" placeholder="BTC-USD" uppercase required />
          <datalist id="order-symbols">
            {(symbols.value ?? []).map((name) => (
              <option key={name} value={name} />
            ))}
          </datalist>
        </>
      )}
      <Segments
        label="Side"
        name="side"
        value="buy"
        options={[
          ['buy', 'Buy'],
          ['sell', 'Sell'],
        ]}
      />
      <Choice
        label="Type"
        name="type"
        value="market"
        options={[
          ['market', 'market: at the price of now'],
          ['limit', 'limit: at a price or better'],
          ['stop', 'stop: once a price is reached'],
        ]}
      />
      {type === 'market' && side === 'buy' && (
        <Segments
          label="Say how much"
          name="by"
          value="funds"
          options={[
            ['funds', 'by what it costs'],
            ['size', 'by its size'],
          ]}
        />
      )}
      <div class="pair">
        {byFunds ? (
          <Field
            key="funds"
            label="Funds"
            name="funds"
            hint="In the quote currency, fee included"
            {...DECIMAL}
            required
          />
        ) : (
          <Field key="size" label="Size" name="size" hint="In units of the base" {...DECIMAL} required />
        )}
        {type === 'limit' && <Field key="price" label="Limit price" name="price" {...DECIMAL} required />}
        {type === 'stop' && <Field key="stop" label="Stop price" name="stop_price" {...DECIMAL} required />}
      </div>
      {type === 'limit' && (
        <Choice
          label="Valid"
          name="time_in_force"
          options={[
            ['gtc', 'until it is cancelled'],
            ['ioc', 'at once or not at all'],
          ]}
        />
      )}
    </Form>
  );
}
