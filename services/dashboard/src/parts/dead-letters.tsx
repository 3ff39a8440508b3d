// The messages that services have given up, for operators.
import { useSignal } from '@preact/signals';
import { api, ask, sentence } from '../api/client';
import type { DeadLetter } from '../api/types';
import { count } from '../format';
import { usePolled } from './resource';
import { List, Panel, Time } from './small';

const SHOWN = 50;

export function DeadLetters() {
  const more = useSignal(false);
  const outcome = useSignal<{ problem: boolean; text: string } | null>(null);
  const letters = usePolled(async () => {
    const page = await ask(api.GET('/v1/dead-letters', { params: { query: { limit: SHOWN } } }));
    more.value = page.next_cursor !== null;
    return page.items;
  });

  async function replay({ number }: DeadLetter) {
    try {
      const path = { number };
      const { publisher } = await ask(api.POST('/v1/dead-letters/{number}/replay', { params: { path } }));
      outcome.value = { problem: false, text: `Dead letter ${number} is published again by the ${publisher}.` };
    } catch (reason) {
      outcome.value = { problem: true, text: sentence(reason) };
    }
    await letters.reload().catch(() => undefined);
  }

  return (
    <Panel title="Dead letters">
      {outcome.value && (
        <p role={outcome.value.problem ? 'alert' : 'status'} class={outcome.value.problem ? 'problem' : undefined}>
          {outcome.value.text}
        </p>
      )}
      <List of={letters} empty="No service has given up a message.">
        {(items) => (
          <>
            <ul class="cards">
              {items.map((letter) => (
                <Letter key={letter.number} letter={letter} onReplay={() => replay(letter)} />
              ))}
            </ul>
            {more.value && <p class="soft">There are more than {count(items.length)}; the oldest are shown.</p>}
          </>
        )}
      </List>
    </Panel>
  );
}

function Letter({ letter, onReplay }: { letter: DeadLetter; onReplay(): Promise<void> }) {
  const { number, dead_letter: content, not_replayable: reason } = letter;
  return (
    <li class="card">
      <p class="row">
        <span>
          {number}: {content ? place(content) : 'cannot be read'}
        </span>
        {reason === null && (
          <button type="button" class="link" aria-label={`Replay dead letter ${number}`} onClick={onReplay}>
            Replay
          </button>
        )}
      </p>
      {content && (
        <>
          <p>
            {content.service} gave it up: {content.reason}
          </p>
          <p class="soft">
            <Time at={content.at} /> {content.subject}
          </p>
          <details>
            <summary>Body</summary>
            <pre>{content.excerpt}</pre>
          </details>
        </>
      )}
      {reason !== null && <p class="soft">It cannot be replayed: {reason}.</p>}
    </li>
  );
}

function place({ stream, sequence, index }: NonNullable<DeadLetter['dead_letter']>): string {
  if (stream === '') return 'a message of an exchange';
  const message = `message ${count(sequence)} of ${stream}`;
  return index === null || index === undefined ? message : `tick ${index + 1} of ${message}`;
}
