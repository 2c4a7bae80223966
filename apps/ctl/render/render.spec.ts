import { PassThrough } from 'node:stream';
import { WeftError } from '#base/errors.js';
import { Network } from '#rpc/gen/weft/v1/types.js';
import { liveLines } from '../live-lines.js';
import type { Output } from '../shell.js';
import { errorText } from './error.js';
import { bytes, count, span } from './quantity.js';
import { json, listing, table } from './table.js';
import { networkCalled } from './tasks.js';

describe('tables', () => {
  const columns = [
    { title: 'NAME', text: (r: { name: string; n: number }) => r.name },
    { title: 'N', text: (r: { name: string; n: number }) => String(r.n), align: 'right' as const },
  ];

  it('align their columns and show what is empty', () => {
    expect(
      table(
        [
          { name: 'a', n: 5 },
          { name: '', n: 100 },
        ],
        columns,
      ),
    ).toBe('NAME     N\na        5\n-      100\n');
    expect(table([], columns)).toBe('NAME   N\n');
  });

  it('fit a terminal where a column may be cut, and are whole elsewhere', () => {
    const cut = [{ title: 'NAME', text: (r: { name: string }) => r.name, cuts: true as const }, ...columns.slice(1)];
    const rows = [{ name: `failed (${'why '.repeat(10)})`, n: 1 }];
    expect(table(rows, cut, 40)).toBe(`NAME${' '.repeat(35)}N\nfailed (${'why '.repeat(6)}why…   1\n`);
    expect(table(rows, cut, 10).split('\n')[1]).toHaveLength(34);
    expect(table(rows, cut)).toContain(rows[0]?.name);
  });

  it('let no control character through', () => {
    expect(table([{ name: 'a\u001b[2Jb\nc', n: 1 }], columns)).toBe('NAME       N\na?[2Jb c   1\n');
  });

  it('are JSON when asked', () => {
    expect(listing([{ name: 'a', n: 1 }], columns, 'json')).toBe('[\n  {\n    "name": "a",\n    "n": 1\n  }\n]\n');
    expect(json([])).toBe('[]\n');
  });
});

it('a network is called as the stack calls it: by its key, or by its name if it belongs to nobody or to another', () => {
  const network = (id: string, name: string, stack: string, key: string) => ({ ...Network.fromPartial({}), id, name, stack, key });
  const called = networkCalled([network('a', 'shop_front', 'shop', 'front'), network('b', 'shared', '', 'network')]);
  expect([called('a', 'shop'), called('a', 'other'), called('b', 'shop'), called('c', 'shop')]).toEqual([
    ...['front', 'shop_front', 'shared', 'c'],
  ]);
});

it.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1536, '1.5 KiB'],
  [150 * 1024, '150 KiB'],
  [3 * 1024 ** 4, '3.0 TiB'],
])('%d bytes are %s', (n, text) => expect(bytes(n)).toBe(text));

it.each([
  [-5, '0s'],
  [400, '0s'],
  [59_000, '59s'],
  [60_000, '1m'],
  [3_661_000, '1h 1m'],
  [90_000_000, '1d 1h'],
])('%d ms are %s', (ms, text) => expect(span(ms)).toBe(text));

it('counts', () => expect([count(0, 'node'), count(1, 'node'), count(2, 'node')]).toEqual(['0 nodes', '1 node', '2 nodes']));

describe('errors', () => {
  it('are what, why and hint', () => {
    expect(errorText(new WeftError('NOT_FOUND', { what: 'no x', why: 'gone\nfor \u0007ever', hint: 'Look.' }), false)).toBe(
      'error: no x\nwhy:   gone\n       for ?ever\nhint:  Look.\n',
    );
    expect(errorText(new WeftError('USAGE', 'wrong'), false)).toBe(
      'error: wrong\nhint:  See `ctl --help` for the commands and their flags.\n',
    );
  });
});

describe('progress', () => {
  function output(tty: boolean): { stream: Output; text: () => string } {
    const stream: Output = new PassThrough();
    stream.isTTY = tty;
    stream.columns = 30;
    let text = '';
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
    return { stream, text: () => text };
  }

  it('is a line for each change where there is no terminal', () => {
    const { stream, text } = output(false);
    const lines = liveLines(stream);
    lines.set('a', 'a 1');
    lines.set('a', 'a 1');
    lines.set('a', 'a 1, 5 bytes', '');
    lines.set('a', 'a 1: waiting', 'a 1');
    lines.set('b', 'b 1');
    lines.set('a', 'a 2');
    lines.finish();
    expect(text()).toBe('a 1\nb 1\na 2\n');
  });

  it('is a block that is redrawn on a terminal, no line longer than it is wide', () => {
    const { stream, text } = output(true);
    const lines = liveLines(stream);
    lines.set('a', 'a 1');
    lines.set('b', 'b'.repeat(50));
    lines.set('a', 'a 2');
    lines.finish();
    expect(text()).toBe(`\r\u001b[Ja 2\n${'b'.repeat(29)}\n`);
  });
});
