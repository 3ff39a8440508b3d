// Something that is loaded, shown, and kept current.
import { type Signal, useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { live } from '../live';
import type { Channel, Listener } from '../live/live';

export interface Resource<T> {
  value: Signal<T | null>;
  error: Signal<unknown>;
  reload(): Promise<void>;
}

/** Loads a value again and again, for what no channel reports. */
export function usePolled<T>(load: () => Promise<T>): Resource<T> {
  const resource = useResource(load, []);
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) void resource.reload();
    }, POLL_MS);
    return () => clearInterval(timer);
  }, []);
  return resource;
}

const POLL_MS = 5_000;

/** Loads a value whenever `inputs` change and whenever one of the channels says that it may have changed. */
export function useResource<T>(
  load: () => Promise<T>,
  inputs: unknown[],
  channels: (Channel | Omit<Listener, 'refresh' | 'apply'>)[] = [],
): Resource<T> {
  const value = useSignal<T | null>(null);
  const error = useSignal<unknown>(null);
  const newest = useRef(0);
  const current = useRef(load);
  current.current = load;

  const reload = useRef(async () => {
    const mine = ++newest.current;
    try {
      const loaded = await current.current();
      if (mine !== newest.current) return;
      value.value = loaded;
      error.value = null;
    } catch (reason) {
      if (mine === newest.current) error.value = reason;
      throw reason;
    }
  }).current;

  useEffect(() => {
    if (channels.length === 0) {
      reload().catch(() => undefined);
      return;
    }
    const stops = channels.map((channel) => {
      const named = typeof channel === 'string' ? { channel } : channel;
      return live.listen({ ...named, refresh: reload });
    });
    return () => {
      for (const stop of stops) stop();
    };
  }, inputs);

  return { value, error, reload: () => reload().catch(() => undefined) };
}
