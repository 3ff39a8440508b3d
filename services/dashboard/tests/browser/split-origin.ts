// The dashboard as static files on a server of their own, with the API elsewhere.
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, normalize } from 'node:path';

const DIST = new URL('../../dist', import.meta.url).pathname;
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

/** Serves the built files, and a config.json that names the API. */
export async function serveStatic(api: string): Promise<StaticSite> {
  const server: Server = createServer(async (request, response) => {
    const path = new URL(request.url ?? '/', 'http://site').pathname;
    const name = path === '/' ? 'index.html' : normalize(path).slice(1);
    const policy = `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ${api}`;
    const body = name === 'config.json' ? JSON.stringify({ api }) : await readFile(join(DIST, name)).catch(() => null);
    response.writeHead(body === null ? 404 : 200, {
      'Content-Type': KINDS[name.split('.').at(-1) ?? ''] ?? 'application/octet-stream',
      'Content-Security-Policy': policy,
    });
    response.end(body ?? '');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}
