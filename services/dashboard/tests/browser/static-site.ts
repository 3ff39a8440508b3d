// Files on a server of their own.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const KINDS: Record<string, string> = {
  html: 'text/html',
  js: 'text/javascript',
  css: 'text/css',
  svg: 'image/svg+xml',
  json: 'application/json',
};

export interface StaticSite {
  url: string;
  close(): void;
}

/** Serves what `read` returns for the path of a request, with headers of one's own. */
export async function serveFiles(
  read: (path: string) => Promise<string | Buffer>,
  headers: Record<string, string> = {},
): Promise<StaticSite> {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://site');
    const path = pathname === '/' ? '/index.html' : pathname;
    const body = await read(path).catch(() => null);
    const kind = KINDS[path.split('.').at(-1) ?? ''] ?? 'application/octet-stream';
    response.writeHead(body === null ? 404 : 200, { 'Content-Type': kind, ...headers });
    response.end(body ?? '');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}

/** Reads a file of a folder. */
export function fromFolder(folder: string): (path: string) => Promise<Buffer> {
  return (path) => readFile(new URL(`.${new URL(path, 'http://site').pathname}`, `file://${folder}/`));
}
