import { readFile } from 'node:fs/promises';
import { keyPage } from './key-page.js';

describe('KEYS.md', () => {
  it('is what the key table says: `npm run build` writes it', async () => {
    expect(await readFile(new URL('KEYS.md', import.meta.url), 'utf8')).toBe(keyPage());
  });

  it('has no empty cell, and each row once', () => {
    const rows = keyPage()
      .split('\n')
      .filter((line) => line.startsWith('| `'));
    expect(rows.length).toBeGreaterThan(300);
    for (const row of rows)
      expect(row).toMatch(/^\| `[^`|]+` \| ([^|]|\\\|)*\w.* \| (honoured|honoured, with a difference: .*\w.*|refused: .*\w.*) \|$/);
    expect(new Set(rows.map((row) => row.split(' | ')[0])).size).toBe(rows.length);
  });
});
