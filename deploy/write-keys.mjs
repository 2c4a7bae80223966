/** A step of the build: writes the page of Compose keys from the compiled key table, where it is not the same already. */
import { readFile, writeFile } from 'node:fs/promises';
import { keyPage } from '../dist/libs/compose/key-page.js';

const PAGE = new URL('../libs/compose/KEYS.md', import.meta.url);

const page = keyPage();
if (page !== (await readFile(PAGE, 'utf8').catch(() => ''))) await writeFile(PAGE, page);
