// What TradingView's open UDF datafeed does with the answers of a server, written anew from its published behaviour: it ignores
// the status of an answer, an object with a field `s` is an unknown symbol, times become milliseconds, `nextTime` is handed on as
// it comes. Each number is kept with the text that was sent, too, so that digits can be compared.

export class Datafeed {
  constructor(url) {
    this.url = url;
    /** The requests for bars, as they were made. */
    this.requests = [];
  }

  async send(path, parameters = {}) {
    const response = await fetch(`${this.url}/${path}?${new URLSearchParams(parameters)}`);
    return JSON.parse(await response.text(), (_key, value, { source }) =>
      typeof value === 'number' ? { value, text: source } : value,
    );
  }

  async onReady() {
    const configuration = await this.send('config');
    if (configuration.supports_search === configuration.supports_group_request) {
      throw new Error('A server has either a search or groups.');
    }
    return configuration;
  }

  async resolveSymbol(name) {
    const answer = await this.send('symbols', { symbol: name });
    if (answer.s !== undefined) throw new Error('unknown_symbol');
    return answer;
  }

  async getBars({ ticker }, resolution, { from, to, countBack }) {
    const parameters = { symbol: ticker, resolution, from, to };
    if (countBack !== undefined) parameters.countback = countBack;
    this.requests.push(parameters);
    const answer = await this.send('history', parameters);
    if (answer.s !== 'ok' && answer.s !== 'no_data') throw new Error(answer.errmsg);
    if (answer.s === 'no_data') return { bars: [], noData: true, nextTime: answer.nextTime?.value };
    const bars = answer.t.map((time, index) => {
      const of = (column) => (answer[column] ?? answer.c)[index];
      return {
        time: time.value * 1_000,
        open: of('o'),
        high: of('h'),
        low: of('l'),
        close: of('c'),
        volume: answer.v[index],
      };
    });
    return { bars, noData: false };
  }

  async getServerTime() {
    return Number(await (await fetch(`${this.url}/time`)).text());
  }
}
