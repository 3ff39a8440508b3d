// Values as people read them, in their locale and time zone. Decimals stay text: Intl formats them digit by digit.

type Decimal = Intl.StringNumericLiteral;

const LOCALE = undefined;
const numbers = new Map<string, Intl.NumberFormat>();

function number(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = JSON.stringify(options);
  const known = numbers.get(key) ?? new Intl.NumberFormat(LOCALE, options);
  numbers.set(key, known);
  return known;
}

/** The number of decimal places that a decimal is written with. */
export function places(text: string): number {
  return text.split('.')[1]?.length ?? 0;
}

/** A decimal with all of its digits, like `61,204.50`, and with at least `least` decimal places. */
export function decimal(text: string, least = 0): string {
  const digits = Math.min(100, Math.max(places(text), least));
  return number({ minimumFractionDigits: digits, maximumFractionDigits: digits }).format(text as Decimal);
}

/** A price: its digits, and at least two decimal places. */
export function price(text: string): string {
  return decimal(text, 2);
}

/** A change in percent with its sign and two decimal places, like `+1.25 %`. */
export function percent(text: string): string {
  const options = { style: 'unit', unit: 'percent', unitDisplay: 'short' } as const;
  const digits = { minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: 'exceptZero' } as const;
  return number({ ...options, ...digits }).format(text as Decimal);
}

/** A whole number, like `12,500`. */
export function count(value: number): string {
  return number({}).format(value);
}

/** The direction of a signed decimal. */
export function direction(text: string | null | undefined): 'up' | 'down' | 'flat' {
  if (!text || /^-?0*\.?0*$/.test(text)) return 'flat';
  return text.startsWith('-') ? 'down' : 'up';
}

const clock = new Intl.DateTimeFormat(LOCALE, { timeStyle: 'medium' });
const dayAndClock = new Intl.DateTimeFormat(LOCALE, { dateStyle: 'medium', timeStyle: 'medium' });
const everything = new Intl.DateTimeFormat(LOCALE, { dateStyle: 'full', timeStyle: 'long' });

/** A time: without the day where it is of today. */
export function time(text: string, now = new Date()): string {
  const at = new Date(text);
  return (at.toDateString() === now.toDateString() ? clock : dayAndClock).format(at);
}

/** A time with its day and its time zone. */
export function fullTime(text: string): string {
  return everything.format(new Date(text));
}

const UNITS: [unit: string, seconds: number][] = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
];

/** How long ago a time was, like `12s`, by the clock of this computer. */
export function age(text: string, now: number): string {
  const seconds = Math.max(0, Math.round((now - Date.parse(text)) / 1_000));
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? ['second', 1];
  return number({ style: 'unit', unit, unitDisplay: 'narrow' }).format(Math.floor(seconds / size));
}

/** A name of the API as words, like `too many open orders`. */
export function words(name: string): string {
  return name.replaceAll('_', ' ');
}
