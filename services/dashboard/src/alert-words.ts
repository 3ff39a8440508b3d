// What alerts and firings say, as sentences.
import type { Condition, Firing } from './api/types';
import { decimal, percent, price, time } from './format';

/** What is typed into the form of a new alert. */
export interface NewAlert {
  symbol: string;
  kind: 'change' | 'above' | 'below';
  value: string;
  direction: 'any' | 'up' | 'down';
  since: string;
  repeat: 'every' | 'once';
  cooldown: string;
  email: string;
}

export function condition({ kind, value, direction, since }: NewAlert): Condition {
  if (kind === 'above') return { price: { above: value } };
  if (kind === 'below') return { price: { below: value } };
  return { change: { percent: value, direction, since } };
}

const UNITS: Record<string, string> = { s: 'second', m: 'minute', h: 'hour', d: 'day' };

/** A period like `30m` as words, like `30 minutes`. */
export function period(text: string): string {
  const [, number = '', unit = ''] = /^(\d+)([smhd])$/.exec(text) ?? [];
  const name = UNITS[unit];
  if (!name) return text;
  return number === '1' ? `1 ${name}` : `${number} ${name}s`;
}

function baseline(since: string): string {
  if (since === 'anchor') return 'from the price of the last firing, at first from the price of now';
  if (since === 'previous') return 'from one tick to the next';
  return `within ${period(since)}`;
}

const MOVES = { any: 'moves', up: 'rises', down: 'falls' };

/** When a condition fires, like `rises by 5% or more within 1 hour`. */
export function conditionWords(condition: Condition): string {
  if ('price' in condition) {
    const threshold = condition.price;
    return 'above' in threshold
      ? `reaches ${price(String(threshold.above))} or more`
      : `reaches ${price(String(threshold.below))} or less`;
  }
  const { percent: least, direction = 'any', since = 'anchor' } = condition.change;
  return `${MOVES[direction]} by ${decimal(String(least))} % or more ${baseline(since)}`;
}

const NUMBER = /^\d+(\.\d+)?$/;

/** What an alert will do; undefined while too little of it is known. */
export function alertSentence(alert: NewAlert): string | undefined {
  if (!alert.symbol || !NUMBER.test(alert.value)) return undefined;
  const often = alert.repeat === 'once' ? 'once, and never again' : cooldownWords(alert.cooldown);
  return `When ${alert.symbol} ${conditionWords(condition(alert))}, we mail ${alert.email || 'you'} ${often}.`;
}

function cooldownWords(cooldown: string): string {
  return /^0+[smhd]$/.test(cooldown) ? 'each time' : `each time, but not within ${period(cooldown)} after a mail`;
}

/** Why an alert has fired. */
export function firingWords({ price: fired, change_percent, reference_price, reference_at }: Firing): string {
  if (!change_percent || !reference_price) return `The price reached ${price(fired)}.`;
  const since = reference_at ? ` of ${time(reference_at)}` : '';
  return `The price was ${price(fired)}, ${percent(change_percent)} from ${price(reference_price)}${since}.`;
}
