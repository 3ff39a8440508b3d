import { expect, test } from 'vitest';
import { eventStreamParser, type ServerEvent } from '../../src/live/event-stream';

function parse(pieces: string[]) {
  const events: ServerEvent[] = [];
  const ids: string[] = [];
  const retries: number[] = [];
  const take = eventStreamParser({
    event: (event) => events.push(event),
    id: (id) => ids.push(id),
    retry: (wait) => retries.push(wait),
  });
  for (const piece of pieces) take(piece);
  return { events, ids, retries };
}

const STREAM = [
  ': hello\n',
  'retry: 1200\nid: a0\n\n',
  'event: prices\nid: a1\ndata: {"price":"1"}\n\n',
  'event: firings\r\nid: a2\r\ndata: {"n":\r\ndata: 2}\r\n\r\n',
  'data:no space\rid\r\r',
  'event: ignored without data\n\n: \nid: a3\n\n',
  'id: a\0b\nretry: soon\nunknown: field\ndata\n\n',
].join('');

const EVENTS = [
  { event: 'prices', data: '{"price":"1"}' },
  { event: 'firings', data: '{"n":\n2}' },
  { event: 'message', data: 'no space' },
  { event: 'message', data: '' },
];

const READ = { events: EVENTS, ids: ['a0', 'a1', 'a2', '', 'a3'], retries: [1200] };

test('events are read as the standard says', () => {
  expect(parse([STREAM])).toEqual(READ);
});

test('it makes no difference where the stream is cut', () => {
  for (let cut = 1; cut < STREAM.length; cut++) {
    expect(parse([STREAM.slice(0, cut), STREAM.slice(cut)]), `cut at ${cut}`).toEqual(READ);
  }
  expect(parse([...STREAM])).toEqual(READ);
});

test('an event that is not complete is not given', () => {
  expect(parse(['event: prices\ndata: {}\n']).events).toEqual([]);
});
