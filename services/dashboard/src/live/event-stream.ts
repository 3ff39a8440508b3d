// Server-sent events out of the bytes of a body: https://html.spec.whatwg.org/multipage/server-sent-events.html

export interface ServerEvent {
  /** The channel; `message` where the server names none. */
  event: string;
  data: string;
}

interface Sink {
  event(event: ServerEvent): void;
  /** Everything up to this id has been given; a stream is resumed behind it. Comments may move it, too. */
  id(id: string): void;
  /** The server asks to wait so many milliseconds before the next connection. */
  retry(milliseconds: number): void;
}

/** Returns a function that takes the text of a stream piece by piece, however it is cut. */
export function eventStreamParser(sink: Sink): (piece: string) => void {
  let line = '';
  let endedWithCarriageReturn = false;
  let event = '';
  let data: string[] = [];
  let id: string | undefined;

  function take(line: string) {
    if (line === '') {
      if (data.length > 0) sink.event({ event: event || 'message', data: data.join('\n') });
      if (id !== undefined) sink.id(id);
      event = '';
      data = [];
      id = undefined;
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') event = value;
    else if (field === 'data') data.push(value);
    else if (field === 'id' && !value.includes('\0')) id = value;
    else if (field === 'retry' && /^\d+$/.test(value)) sink.retry(Number(value));
  }

  return (piece) => {
    for (const character of piece.split(/(\r\n|\r|\n)/)) {
      const isEnd = character === '\n' || character === '\r' || character === '\r\n';
      // A line may end in \r at the end of one piece and go on with \n in the next.
      const isRest = character === '\n' && endedWithCarriageReturn;
      if (character !== '') endedWithCarriageReturn = character === '\r';
      if (!isEnd) line += character;
      else if (!isRest) {
        take(line);
        line = '';
      }
    }
  };
}
