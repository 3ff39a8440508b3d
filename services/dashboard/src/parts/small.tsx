// The small parts that many pages show.
import type { ComponentChildren } from 'preact';
import { sentence } from '../api/client';
import { now } from '../clock';
import { age, direction, fullTime, percent, time } from '../format';
import { symbolAddress } from '../router';
import type { Resource } from './resource';

/** A time, with its day and its zone for who points at it. */
export function Time({ at }: { at: string }) {
  return (
    <time dateTime={at} title={fullTime(at)}>
      {time(at)}
    </time>
  );
}

export function Age({ at }: { at: string }) {
  return (
    <time dateTime={at} title={fullTime(at)}>
      {age(at, now.value)}
    </time>
  );
}

/** A change with its sign, so that its colour says nothing alone. */
export function Change({ value }: { value: string | null | undefined }) {
  if (!value) return <span class="soft">–</span>;
  return <span class={direction(value)}>{percent(value)}</span>;
}

export function SymbolLink({ symbol }: { symbol: string }) {
  return (
    <a class="symbol" href={symbolAddress(symbol)}>
      {symbol}
    </a>
  );
}

/** A word about a state, in its colour. */
export function Badge({ tone, children }: { tone: 'good' | 'bad' | 'warn' | 'calm'; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

/** Says that trades of a symbol are missing now. */
export function MissingTrades({ since }: { since: string }) {
  return (
    <Badge tone="warn">
      trades missing since <Time at={since} />
    </Badge>
  );
}

interface PanelProps {
  title: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
}

export function Panel({ title, aside, children }: PanelProps) {
  return (
    <section class="panel" aria-label={title}>
      <header>
        <h2>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  );
}

interface ListProps<T> {
  of: Resource<T[]>;
  /** The sentence where there is nothing. */
  empty: ComponentChildren;
  children(items: T[]): ComponentChildren;
}

/** The items of a list, or why there are none. */
export function List<T>({ of, empty, children }: ListProps<T>) {
  const items = of.value.value;
  if (items && items.length > 0) return <>{children(items)}</>;
  if (items) return <p class="empty">{empty}</p>;
  if (of.error.value) return <p class="empty problem">{sentence(of.error.value)}</p>;
  return <p class="empty">Loading…</p>;
}

interface TableProps {
  label: string;
  head: ComponentChildren;
  /** Whether it scrolls down by itself, too. */
  short?: boolean;
  children: ComponentChildren;
}

/** A table that scrolls by itself where the screen is narrow. */
export function Table({ label, head, short, children }: TableProps) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for fields.
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard.
    <div role="group" class={short ? 'scroll short' : 'scroll'} aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>{head}</tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
