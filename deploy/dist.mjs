/** Where the build puts what it made. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const DIST = join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist');
