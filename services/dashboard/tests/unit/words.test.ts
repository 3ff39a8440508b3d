import { describe, expect, test } from 'vitest';
import { alertSentence, condition, conditionWords, firingWords, type NewAlert, period } from '../../src/alert-words';
import type { Firing, LatestPrice, Order } from '../../src/api/types';
import { age, decimal, direction, percent, price } from '../../src/format';
import { select } from '../../src/pages/market';
import { orderRequest, orderWords } from '../../src/parts/order-ticket';
import { linePoints } from '../../src/parts/spark-line';
import { parseRoute } from '../../src/router';

describe('values', () => {
  test.each([
    ['61204.5', '61,204.50'],
    ['0.00001234', '0.00001234'],
    ['12345678901234.123456789012345678', '12,345,678,901,234.123456789012345678'],
    ['7000', '7,000.00'],
  ])('the price %s keeps each of its digits', (text, shown) => {
    expect(price(text)).toBe(shown);
  });

  test('an amount has the places that it is written with', () => {
    expect([decimal('-680.60'), decimal('5'), decimal('1000000.0001')]).toEqual(['-680.60', '5', '1,000,000.0001']);
  });

  test.each([
    ['1.2345', '+1.23%', 'up'],
    ['-0.5000', '-0.50%', 'down'],
    ['0.0000', '0.00%', 'flat'],
    ['0.0001', '0.00%', 'up'],
  ])('the change %s has its sign and its direction', (text, shown, way) => {
    expect(percent(text)).toBe(shown);
    expect(direction(text)).toBe(way);
  });

  test.each([
    [0, '0s'],
    [59, '59s'],
    [60, '1m'],
    [7_300, '2h'],
    [200_000, '2d'],
    [-5, '0s'],
  ])('%d seconds ago is %s', (seconds, shown) => {
    const now = Date.parse('2026-11-28T12:00:00Z');
    expect(age(new Date(now - seconds * 1_000).toISOString(), now)).toBe(shown);
  });
});

describe('alerts', () => {
  const draft: NewAlert = {
    symbol: 'BTC-USD',
    kind: 'change',
    value: '5',
    direction: 'any',
    since: 'anchor',
    repeat: 'every',
    cooldown: '0s',
    email: 'ada@example.com',
  };

  test.each<[Partial<NewAlert>, string | undefined]>([
    [
      {},
      'When BTC-USD moves by 5 % or more from the price of the last firing, at first from the price of now, we mail ada@example.com each time.',
    ],
    [
      { direction: 'down', since: '1h', cooldown: '30m' },
      'When BTC-USD falls by 5 % or more within 1 hour, we mail ada@example.com each time, but not within 30 minutes after a mail.',
    ],
    [
      { kind: 'above', value: '7000', repeat: 'once', email: '' },
      'When BTC-USD reaches 7,000.00 or more, we mail you once, and never again.',
    ],
    [{ kind: 'below', value: '0.5' }, 'When BTC-USD reaches 0.50 or less, we mail ada@example.com each time.'],
    [{ value: '' }, undefined],
    [{ value: '5,5' }, undefined],
    [{ symbol: '' }, undefined],
  ])('%j says what it will do', (change, sentence) => {
    expect(alertSentence({ ...draft, ...change })).toBe(sentence);
  });

  test('a condition is sent as it is described', () => {
    expect(condition(draft)).toEqual({ change: { percent: '5', direction: 'any', since: 'anchor' } });
    expect(condition({ ...draft, kind: 'below', value: '0.5' })).toEqual({ price: { below: '0.5' } });
    expect(conditionWords({ change: { percent: '2', since: 'previous' } })).toBe(
      'moves by 2 % or more from one tick to the next',
    );
  });

  test('periods are words', () => {
    expect(['1s', '10m', '24h', '7d', 'x'].map(period)).toEqual(['1 second', '10 minutes', '24 hours', '7 days', 'x']);
  });

  test('a firing says why', () => {
    const firing = { price: '63000', change_percent: '5.0140', reference_price: '59992' } as Firing;
    expect(firingWords(firing)).toBe('The price was 63,000.00, +5.01% from 59,992.00.');
    expect(firingWords({ price: '7000.1' } as Firing)).toBe('The price reached 7,000.10.');
  });
});

describe('the market', () => {
  const prices = [
    ['BTC-USD', '61000', '1.5', 'kraken', 3],
    ['ETH-USD', '3400', null, 'coinbase', 1],
    ['DOGE-USD', '0.1', '-7', 'kraken', 2],
  ].map(([symbol, price, change_24h_percent, venue, second]) => {
    return { symbol, price, change_24h_percent, venue, at: `2026-11-28T12:00:0${second}Z` } as LatestPrice;
  });
  const names = (text: string, key: Parameters<typeof select>[2]['key'], descending = false) =>
    select([...prices], text, { key, descending }).map(({ symbol }) => symbol.slice(0, 3));

  test('is sorted by each column', () => {
    expect(names('', 'symbol')).toEqual(['BTC', 'DOG', 'ETH']);
    expect(names('', 'symbol', true)).toEqual(['ETH', 'DOG', 'BTC']);
    expect(names('', 'price', true)).toEqual(['BTC', 'ETH', 'DOG']);
    expect(names('', 'change', true)).toEqual(['BTC', 'DOG', 'ETH']);
    expect(names('', 'venue')).toEqual(['ETH', 'BTC', 'DOG']);
    expect(names('', 'at')).toEqual(['ETH', 'DOG', 'BTC']);
  });

  test('is filtered by symbol and venue', () => {
    expect(names(' btc ', 'symbol')).toEqual(['BTC']);
    expect(names('kraken', 'symbol')).toEqual(['BTC', 'DOG']);
    expect(names('xyz', 'symbol')).toEqual([]);
  });

  test('a line goes from the left to the right, and the highest is at the top', () => {
    expect(linePoints([1, 3, 2], 100, 24)).toBe('0.0,22.0 50.0,2.0 100.0,12.0');
    expect(linePoints([5, 5], 100, 24)).toBe('0.0,12.0 100.0,12.0');
  });
});

describe('orders', () => {
  const form = (fields: Record<string, string>) => {
    const data = new FormData();
    for (const [name, value] of Object.entries(fields)) data.set(name, value);
    return data;
  };
  const sent = (fields: Record<string, string>) => JSON.parse(JSON.stringify(orderRequest(form(fields))));

  test('the request has what was typed and nothing else', () => {
    expect(sent({ symbol: 'btc-usd', side: 'buy', type: 'market', funds: ' 100.00 ', by: 'funds' })).toEqual({
      symbol: 'BTC-USD',
      side: 'buy',
      type: 'market',
      funds: '100.00',
    });
    const limit = { symbol: 'SPY', side: 'sell', type: 'limit', size: '1', price: '500.10', time_in_force: 'ioc' };
    expect(sent(limit)).toEqual(limit);
  });

  test('what has become of it is a sentence', () => {
    const order = { side: 'sell', symbol: 'SPY', status: 'filled', trade: { size: '2', price: '500.1' } };
    expect(orderWords(order as Order)).toBe('Sold 2 SPY at 500.10.');
    const rejected = { status: 'rejected', reason: 'insufficient_funds', reason_detail: null };
    expect(orderWords(rejected as Order)).toBe('The order is rejected: insufficient funds.');
    expect(orderWords({ status: 'open' } as Order)).toBe('The order is open.');
  });
});

test('a hash names a page, what it shows, and a query', () => {
  expect(parseRoute('')).toMatchObject({ page: 'market', rest: '' });
  expect(parseRoute('#/symbol/BRK.B')).toMatchObject({ page: 'symbol', rest: 'BRK.B' });
  expect(parseRoute('#/symbol/A%2FB')).toMatchObject({ rest: 'A/B' });
  expect(parseRoute('#/alerts?alert=1').query.get('alert')).toBe('1');
});
