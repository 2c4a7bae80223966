import fc from 'fast-check';
import {
  backendsIn,
  balancerAt,
  missingBalancers,
  refuses,
  valueOf,
  vipChanges,
  vipRecord,
  vipScript,
  vipUpdate,
  type VipRecord,
} from './vip-table.js';

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

  it('a change of one costs its own elements, and nothing of a chain that stands', () => {
    const before = { '10.1.0.200': '10.1.0.20 10.1.0.21', '10.1.0.201': 'client a b c' };
    const changes = vipChanges(before, { ...before, '10.1.0.200': 'client 10.1.0.20 10.1.0.21 10.1.0.22' });
    expect(vipScript(TABLE, vipUpdate(before, changes, false)).split('\n')).toEqual([
      'delete element ip weft vips { 10.1.0.200 }',
      'delete element ip weft ep { 10.1.0.200 . 0, 10.1.0.200 . 1 }',
      'add element ip weft vips { 10.1.0.200 : 65539 }',
      'add element ip weft ep { 10.1.0.200 . 0 : 10.1.0.20, 10.1.0.200 . 1 : 10.1.0.21, 10.1.0.200 . 2 : 10.1.0.22 }',
      '',
    ]);
  });

  it('a chain is made with the mark that leads to it when it is needed first', () => {
    const changes = [{ address: '10.1.0.200', after: 'client a b c' }];
    expect(vipScript(TABLE, vipUpdate({ '10.1.0.201': 'a b c' }, changes, false)).split('\n')).toEqual([
      'add chain ip weft st3',
      'flush chain ip weft st3',
      `add rule ip weft st3 meta mark set jhash ip saddr mod 3 seed 0x77656674 comment "a client's own one of 3"`,
      'add rule ip weft st3 dnat to ip daddr . meta mark map @ep comment "the chosen backend of this virtual address"',
      'add element ip weft balancers { 65539 : goto st3 }',
      'add element ip weft vips { 10.1.0.200 : 65539 }',
      'add element ip weft ep { 10.1.0.200 . 0 : a, 10.1.0.200 . 1 : b, 10.1.0.200 . 2 : c }',
      '',
    ]);
  });

  it('an update brings just the chains that nothing went by, whatever it was made of', () => {
    const pair = fc.tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom('', 'x', 'x y', 'client x y', 'x y z'));
    const chains = (record: VipRecord) => new Set(Object.values(record).flatMap((v) => (v === '' ? [] : [chainNameOf(v)])));
    fc.assert(
      fc.property(fc.array(pair), fc.array(pair), (first, second) => {
        const [before, after] = [vipRecord(first), vipRecord(second)];
        const { balancers } = vipUpdate(before, vipChanges(before, after), refuses(after));
        const [had, needs] = [chains(before), chains(after)];
        expect(balancers).toEqual([...needs].filter((chain) => !had.has(chain)).sort());
        expect(vipUpdate({ ...before }, vipChanges(before, after), false).balancers).toEqual(balancers);
        expect(missingBalancers(before, vipUpdate(before, vipChanges(before, after), false))).toEqual([]);
      }),
    );
  });

  it('marks lead to chains, and back', () => {
    const marks = (value: string) => Number(/vips \{ 10.1.0.200 : (\d+) \}/.exec(scriptOf(value))?.[1]);
    expect(['a', 'a b', 'client a b'].map((value) => balancerAt(marks(value)))).toEqual(['lb1', 'lb2', 'st2']);
  });

  it('asks about every packet only while there is something to refuse', () => {
    const empty = scriptOf('', true);
    expect(empty).toContain('add element ip weft empty { 10.1.0.200 }');
    expect(empty).toContain('add chain ip weft empty_output { type filter hook output priority 0; policy accept; }');
    expect(empty).toContain('add chain ip weft empty_prerouting { type filter hook forward priority 0; policy accept; }');
    const filled = vipScript(TABLE, vipUpdate({}, [{ address: '10.1.0.200', before: '', after: '10.1.0.20' }], false));
    expect(filled).toContain('delete element ip weft empty { 10.1.0.200 }');
    expect(filled).toContain('delete chain ip weft empty_output');
    expect(scriptOf('10.1.0.20')).not.toMatch(/empty_/);
  });
});

const scriptOf = (value: string, refusing = false): string =>
  vipScript(TABLE, vipUpdate({}, vipChanges({}, { '10.1.0.200': value }), refusing));

/** Said otherwise than the room says it. */
const chainNameOf = (value: string): string =>
  value
    .replace(/^client (.*)$/, 'st $1')
    .replace(/^(?!st )/, 'lb ')
    .replace(/ .*/, (words) => String(words.trim().split(' ').length));
