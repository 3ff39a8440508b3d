// Writes each file of dist once more for brotli and once for gzip, so that the gateway packs nothing at run time.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const DIST = new URL('../dist', import.meta.url).pathname;
const brotli = { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY } };

for (const entry of readdirSync(DIST, { recursive: true, withFileTypes: true })) {
  // config.json is replaced where the API is elsewhere, and a packed copy would stay.
  if (!entry.isFile() || !/\.(html|js|css|svg)$/.test(entry.name)) continue;
  const file = join(entry.parentPath, entry.name);
  const body = readFileSync(file);
  writeFileSync(`${file}.br`, brotliCompressSync(body, brotli));
  writeFileSync(`${file}.gz`, gzipSync(body, { level: 9 }));
}
