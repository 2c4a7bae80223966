import fc from 'fast-check';
import { backendsIn, refuses, valueOf, vipChanges, vipRecord, vipScript } from './vip-table.js';

const TABLE = 'ip weft';

describe('virtual addresses', () => {
  it('are text that is equal for equal ones', () => {
    expect(valueOf({ backends: ['10.1.0.21', '10.1.0.20'] })).toBe('10.1.0.20 10.1.0.21');
    expect(valueOf({ backends: ['10.1.0.21', '10.1.0.20'], affinity: 'client' })).toBe('client 10.1.0.20 10.1.0.21');
    expect(valueOf({ backends: ['10.1.0.20'], affinity: 'client' })).toBe('10.1.0.20');
    expect(valueOf({ backends: [], affinity: 'client' })).toBe('');
    expect([backendsIn('client a b'), backendsIn(''), backendsIn(undefined)]).toEqual([['a', 'b'], [], []]);
  });

  it('changes say all and only what differs', () => {
    const record = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom('', 'x', 'x y'));
    fc.assert(
      fc.property(record, record, (before, after) => {
        const next: Record<string, string> = { ...before };
        for (const c of vipChanges(before, after)) {
          expect(c.before).toBe(next[c.address]);
          expect(c.after).not.toBe(c.before);
          if (c.after === undefined) delete next[c.address];
          else next[c.address] = c.after;
        }
        expect(next).toEqual({ ...after });
      }),
    );
  });

  it('changes are the same between records that know what they were made of, and between others', () => {
    const pair = fc.tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom('', 'x', 'x y'));
    fc.assert(
      fc.property(fc.array(pair), fc.array(pair), fc.boolean(), (first, second, aligned) => {
        const pairs = aligned ? first.map(([a, value], i): [string, string] => [a, second[i]?.[1] ?? value]) : second;
        const [before, after] = [vipRecord(first), vipRecord(pairs)];
        const sorted = (changes: ReturnType<typeof vipChanges>) => [...changes].sort((a, b) => (a.address < b.address ? -1 : 1));
        expect(before).toEqual(Object.fromEntries(first));
        expect(sorted(vipChanges(before, after))).toEqual(sorted(vipChanges({ ...before }, { ...after })));
        expect(refuses(after)).toBe(refuses({ ...after }));
      }),
    );
  });

  it('a change of one costs its own elements, the chain it goes by, and nothing else', () => {
    const changes = [{ address: '10.1.0.200', before: '10.1.0.20 10.1.0.21', after: 'client 10.1.0.20 10.1.0.21 10.1.0.22' }];
    expect(vipScript(TABLE, changes, false).split('\n')).toEqual([
      'delete element ip weft vips { 10.1.0.200 }',
      'delete element ip weft ep { 10.1.0.200 . 0x00000000, 10.1.0.200 . 0x00000001 }',
      'add chain ip weft st3',
      'flush chain ip weft st3',
      `add rule ip weft st3 meta mark set jhash ip saddr mod 3 seed 0x77656674 comment "a client's own one of 3"`,
      'add rule ip weft st3 dnat to ip daddr . meta mark map @ep comment "the chosen backend of this virtual address"',
      'add element ip weft ep { 10.1.0.200 . 0x00000000 : 10.1.0.20, 10.1.0.200 . 0x00000001 : 10.1.0.21, 10.1.0.200 . 0x00000002 : 10.1.0.22 }',
      'add element ip weft vips { 10.1.0.200 : goto st3 }',
      '',
    ]);
  });

  it('asks about every packet only while there is something to refuse', () => {
    const empty = vipScript(TABLE, [{ address: '10.1.0.200', after: '' }], true);
    expect(empty).toContain('add element ip weft empty { 10.1.0.200 }');
    expect(empty).toContain('add chain ip weft empty_output { type filter hook output priority 0; policy accept; }');
    expect(empty).toContain('add chain ip weft empty_prerouting { type filter hook forward priority 0; policy accept; }');
    const filled = vipScript(TABLE, [{ address: '10.1.0.200', before: '', after: '10.1.0.20' }], false);
    expect(filled).toContain('delete element ip weft empty { 10.1.0.200 }');
    expect(filled).toContain('delete chain ip weft empty_output');
    const [change] = vipChanges({}, { '10.1.0.200': valueOf({ backends: ['10.1.0.20'] }) });
    expect(vipScript('ip weft_vips', change ? [change] : [], false)).not.toMatch(/empty_/);
  });
});
