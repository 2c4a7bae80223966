import { NODE_VIP_TABLE, TASK_TABLE } from '#overlay/names.js';
import { flowWord } from './conntrack.js';
import { script, scriptLine, type TableOperation } from './nft.js';

const vips = (count: number): TableOperation => ({
  op: 'setVips',
  ns: '',
  table: NODE_VIP_TABLE,
  changes: Array.from({ length: count }, (_, i) => ({ address: `10.1.${i >> 8}.${i & 255}`, before: '10.2.0.1', after: '' })),
  balancers: [],
  refusing: true,
});
const lineOf = (operations: TableOperation[]) => scriptLine(script(operations));

describe('a script for an nft that is kept', () => {
  it('is one line with the same commands', () => {
    const line = lineOf([vips(1)]) ?? '';
    expect(line).not.toContain('\n');
    expect(line.split('; ').join('\n')).toBe(
      script([vips(1)])
        .trim()
        .replaceAll('; ', '\n'),
    );
  });
  it('is none for much', () => expect(lineOf([vips(5_000)])).toBeUndefined());
  it('is none for text beyond ASCII, which nft -i does not keep', () =>
    expect(lineOf([{ op: 'putTable', ns: '', table: TASK_TABLE, text: '  # a → b' }])).toBeUndefined());
  it('of whole tables has no rule without its end', () => {
    const text = '  chain a {\n    type filter hook input priority 0; policy accept;\n    accept\n  }';
    expect(lineOf([{ op: 'putTable', ns: '', table: TASK_TABLE, text }])).toBe(
      `table ip weft {; }; delete table ip weft; table ip weft {;   chain a {;     type filter hook input priority 0; policy accept;;     accept;   }; }`,
    );
  });
});

describe('a script', () => {
  const put: TableOperation = { op: 'putTable', ns: 'weft-1', table: TASK_TABLE, text: '  set s {\n    type mark\n  }' };
  it('replaces a table that may be there', () => expect(script([put])).toContain('delete table ip weft\n'));
  it('deletes nothing where nothing is', () => expect(script([put], true)).toBe(`table ip weft {\n${put.text}\n}\n`));
});

describe('words of tracked flows', () => {
  it.each([
    [{ op: 'forgetFlows', ns: '', address: '10.1.0.7' }, { word: 'src=10.1.0.7' }],
    [
      { op: 'forgetDatagrams', ns: '', to: 'backend', address: 'fd00::1:7' },
      { word: 'src=fd00:0000:0000:0000:0000:0000:0001:0007', udp: true },
    ],
    [
      { op: 'forgetDatagrams', ns: '', to: 'vip', address: '10.1.0.200' },
      { word: 'dst=10.1.0.200', udp: true },
    ],
    [
      { op: 'forgetDoor', ns: '', port: 53 },
      { word: 'dport=53', udp: true },
    ],
  ] as const)('%j', (operation, word) => expect(flowWord(operation)).toEqual(word));
});
