// A whole Tickbell as a user runs it: the built program with its own broker and database in a folder of its own.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const ROOT = new URL('../../../..', import.meta.url).pathname;
const PROGRAM = process.env.TICKBELL ?? join(ROOT, 'target/debug/tickbell');
const execute = promisify(execFile);
const START_MS = 90_000;
const STOP_MS = 20_000;

export class System {
  private constructor(
    readonly folder: string,
    readonly url: string,
    private process: ChildProcess,
  ) {}

  static async start(): Promise<System> {
    const folder = await mkdtemp(join(tmpdir(), 'tickbell-dashboard-'));
    const process = await run(folder, '127.0.0.1:0');
    try {
      const url = await eventually(async () => lineOf(folder, 'HTTP_URL'), START_MS, 'the system writes where it is');
      const system = new System(folder, url, process);
      await system.ready();
      return system;
    } catch (error) {
      await stop(process);
      throw error;
    }
  }

  /** Stops it and starts it again at the same address, as a deployment does. `while` runs in between. */
  async restart(between: () => Promise<void>) {
    await stop(this.process);
    await between();
    this.process = await run(this.folder, new URL(this.url).host);
    await this.ready();
  }

  async stop() {
    await stop(this.process);
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Runs a command of an operator, and returns what it prints. */
  async command(...words: string[]): Promise<string> {
    const { stdout } = await execute(PROGRAM, ['--data-dir', this.folder, ...words], { cwd: this.folder });
    return stdout;
  }

  /** Publishes a recording, and waits until all of it is stored. */
  async ingest(csv: string) {
    const path = join(this.folder, 'recording.csv');
    await writeFile(path, csv);
    await this.command('price-ingestor', '--source', `file:${path}`, '--speed', 'max', '--venue', 'file');
    const isStored = async () => {
      const { consumers } = JSON.parse(await this.command('status', '--json')) as {
        consumers: { name: string; lag: number }[];
      };
      return consumers.some(({ name, lag }) => name === 'history-writer' && lag < 10) || undefined;
    };
    await eventually(isStored, 60_000, 'the recording is stored');
  }

  /** Runs SQL, as a service would. */
  async sql(text: string) {
    await execute('psql', [await this.named('DATABASE_URL'), '-q', '-v', 'ON_ERROR_STOP=1', '-c', text]);
  }

  /** What the system has written about itself. */
  async named(name: string): Promise<string> {
    return eventually(async () => lineOf(this.folder, name), START_MS, `the system writes ${name}`);
  }

  /** Publishes a message to the broker as some other program might. */
  async publish(subject: string, body: string) {
    const broker = new URL(await this.named('NATS_URL'));
    const socket = connect(Number(broker.port), broker.hostname);
    const answered = new Promise((resolve, reject) => {
      socket.on('data', (data) => data.includes('PONG') && resolve(undefined)).on('error', reject);
    });
    socket.write(`CONNECT {"verbose":false}\r\nPUB ${subject} ${Buffer.byteLength(body)}\r\n${body}\r\nPING\r\n`);
    await answered;
    socket.end();
  }

  /** The first link of a kind in the newest mail to an address. */
  async link(recipient: string, kind: string): Promise<string> {
    return eventually(
      async () => {
        const outbox = join(this.folder, 'outbox');
        const names = (await readdir(outbox).catch(() => [])).filter((name) => name.endsWith('.eml'));
        const mails = await Promise.all(names.map((name) => readFile(join(outbox, name), 'utf8')));
        // Quoted-printable cuts long lines.
        const mine = mails.map((mail) => mail.replaceAll('=\r\n', '').replaceAll('=\n', '').replaceAll('=3D', '='));
        const found = mine.filter((mail) => mail.includes(recipient)).map((mail) => linkOf(mail, kind));
        return found.filter((link) => link !== undefined).at(-1);
      },
      30_000,
      `a mail to ${recipient} with a link to ${kind}`,
    );
  }

  private async ready() {
    await eventually(
      async () => (await fetch(`${this.url}/readyz`).catch(() => undefined))?.ok || undefined,
      START_MS,
      'the system is ready',
    );
    await eventually(
      async () => {
        const prices = await fetch(`${this.url}/v1/prices`).then((answer) => answer.json());
        return (prices as { items: unknown[] }).items.length > 0 || undefined;
      },
      START_MS,
      'the first price arrives',
    );
  }
}

function linkOf(mail: string, kind: string): string | undefined {
  return new RegExp(`https?://[^\\s"<>]+/${kind}/[^\\s"<>]+`).exec(mail)?.[0];
}

async function run(folder: string, http: string): Promise<ChildProcess> {
  const log = await open(join(folder, 'log'), 'a');
  const env = {
    ...process.env,
    PATH: `${ROOT}/.tools/bin:${process.env.PATH}`,
    TICKBELL_GATEWAY__CORS_ORIGINS: '*',
    TICKBELL_GATEWAY__CONFIRMATION: 'required',
  };
  const child = spawn(PROGRAM, ['up', '--data-dir', folder, '--http', http], {
    cwd: folder,
    env,
    stdio: ['ignore', log.fd, log.fd],
  });
  await log.close();
  // A run of tests that is cut off leaves nothing behind.
  process.once('exit', () => child.kill('SIGTERM'));
  return child;
}

async function stop(child: ChildProcess) {
  if (child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const deadline = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await ended;
  clearTimeout(deadline);
}

async function lineOf(folder: string, name: string): Promise<string | undefined> {
  const lines = (await readFile(join(folder, 'env'), 'utf8').catch(() => '')).split('\n');
  return lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1);
}

/** Asks until there is an answer. */
export async function eventually<T>(ask: () => Promise<T | undefined>, within: number, what: string): Promise<T> {
  const deadline = Date.now() + within;
  for (;;) {
    const answer = await ask().catch(() => undefined);
    if (answer !== undefined) return answer;
    if (Date.now() > deadline) throw new Error(`Not within ${within} ms: ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
