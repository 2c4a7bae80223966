import fc from 'fast-check';
import { interpolate, InterpolationFault } from './interpolate.js';
import { parseBytes, parseDurationMs, parseNanoCpus } from './units.js';
import { splitWords, WordsFault } from './words.js';

const env = { A: 'a', EMPTY: '', B: 'b' };

describe('variables', () => {
  it.each([
    ['plain', 'plain'],
    ['$A', 'a'],
    ['${A}', 'a'],
    ['x$A.y', 'xa.y'],
    ['$A$B', 'ab'],
    ['$$A', '$A'],
    ['$$', '$'],
    ['$$$A', '$a'],
    ['$NONE', ''],
    ['${NONE}', ''],
    ['${NONE:-d}', 'd'],
    ['${EMPTY:-d}', 'd'],
    ['${EMPTY-d}', ''],
    ['${NONE-d}', 'd'],
    ['${A:-d}', 'a'],
    ['${A:+r}', 'r'],
    ['${EMPTY:+r}', ''],
    ['${EMPTY+r}', 'r'],
    ['${NONE+r}', ''],
    ['${A:?no}', 'a'],
    ['${EMPTY?no}', ''],
    ['${NONE:-${B}}', 'b'],
    ['${NONE:-${NONE:-deep}}', 'deep'],
    ['${NONE:-a$$b}', 'a$b'],
    ['${A:-${}}', 'a'],
    ['${NONE:-}', ''],
    ['}', '}'],
    ['constructor ${constructor:-own}', 'constructor own'],
  ])('%s is %j', (text, expected) => expect(interpolate(text, env)).toBe(expected));

  it.each(['$', 'ab$', '$1', '$(date)', '$-'])('%s stands for itself', (text) => expect(interpolate(text, env)).toBe(text));

  it.each([
    ['a${', 1],
    ['a${A', 1],
    ['${A!x}', 0],
    ['${}', 0],
    ['x${NONE?}', 1],
    ['x${EMPTY:?say}', 1],
    ['${NONE:-${', 8],
    [`${'${N:-'.repeat(40)}`, 80],
  ])('%s is wrong at %d', (text, index) => {
    expect(() => interpolate(text, env)).toThrow(InterpolationFault);
    expect(() => interpolate(text, env)).toThrow(expect.objectContaining({ index }));
  });

  it('say what a missing one is for', () =>
    expect(() => interpolate('${NONE:?the key of $A}', env)).toThrow('the variable NONE must be set: the key of a'));

  it('that are missing are reported once each is used', () => {
    const unset: string[] = [];
    interpolate('$X ${Y:-$Z} ${A:-$W}', env, (name) => unset.push(name));
    expect(unset).toEqual(['X', 'Z']);
  });

  it('never crash or hang, whatever the text', () => {
    const piece = fc.constantFrom('$', '{', '}', '${', ':-', '?', '+', 'A', 'NONE', ' ', '$$', ':');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const text = pieces.join('');
        try {
          expect(typeof interpolate(text, env)).toBe('string');
        } catch (error) {
          expect(error).toBeInstanceOf(InterpolationFault);
          expect((error as InterpolationFault).index).toBeLessThan(text.length);
        }
      }),
    );
  });
});

describe('words', () => {
  it.each<[string, string[]]>([
    ['', []],
    ['  a  b\tc\n', ['a', 'b', 'c']],
    ['sh -c \'echo "$X"; ls\'', ['sh', '-c', 'echo "$X"; ls']],
    ['"a b"c', ['a bc']],
    ['a\\ b "\\"\\n\\\\"', ['a b', '"\\n\\']],
    ['\'\' ""', ['', '']],
    ['a | b > c', ['a', '|', 'b', '>', 'c']],
    ['a\\\nb', ['ab']],
  ])('%j', (text, words) => expect(splitWords(text)).toEqual(words));

  it.each(["a 'b", 'a "b', 'a\\', '"a\\"'])('%j is not closed', (text) => expect(() => splitWords(text)).toThrow(WordsFault));

  it('that were quoted come back as they were', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (words) => {
        const quoted = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
        expect(splitWords(quoted)).toEqual(words);
      }),
    );
  });
});

describe('units', () => {
  it.each<[string, number | undefined]>([
    ['64', 64],
    ['64b', 64],
    ['1k', 1024],
    ['1.5g', 1_610_612_736],
    ['2 MB', 2 ** 21],
    ['10GiB', 10 * 2 ** 30],
    ['-1', undefined],
    ['1x', undefined],
    ['', undefined],
    ['99999999t', undefined],
  ])('%s is %d bytes', (text, expected) => expect(parseBytes(text)).toBe(expected));
  it.each<[string, number | undefined]>([
    ['10s', 10_000],
    ['1m30s', 90_000],
    ['1.5s', 1500],
    ['500us', 1],
    ['0', 0],
    ['1h', 3_600_000],
    ['10', undefined],
    ['s', undefined],
    ['-1s', undefined],
    ['1d', 86_400_000],
    ['1x', undefined],
  ])('%s is %d ms', (text, expected) => expect(parseDurationMs(text)).toBe(expected));
  it.each<[string, number | undefined]>([
    ['0.5', 5e8],
    ['2', 2e9],
    ['0.000000001', 1],
    ['.5', undefined],
    ['-1', undefined],
    ['1e3', undefined],
  ])('%s is %d billionths of a CPU', (text, expected) => expect(parseNanoCpus(text)).toBe(expected));
});
