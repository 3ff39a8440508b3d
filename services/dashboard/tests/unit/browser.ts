// What modules touch of a browser as they are loaded. Everything that needs more is tested in a real one.
import { vi } from 'vitest';

vi.stubGlobal('location', { hash: '' });
vi.stubGlobal('addEventListener', () => undefined);
vi.stubGlobal('document', { hidden: false, addEventListener: () => undefined });
