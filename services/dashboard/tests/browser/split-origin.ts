// The dashboard as static files on a server of their own, with the API elsewhere.
import { fromFolder, type StaticSite, serveFiles } from './static-site';

const readBuilt = fromFolder(new URL('../../dist', import.meta.url).pathname);

/** Serves the built files, and a config.json that names the API. */
export function serveStatic(api: string): Promise<StaticSite> {
  const policy = `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ${api}`;
  const read = async (path: string) => (path === '/config.json' ? JSON.stringify({ api }) : readBuilt(path));
  return serveFiles(read, { 'Content-Security-Policy': policy });
}
