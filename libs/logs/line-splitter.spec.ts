import fc from 'fast-check';
import { MAX_PIECE_BYTES, parsePiece } from './log-file.js';
import { LogJoiner } from './log-joiner.js';
import { LineBuffer, LineSplitter } from './line-splitter.js';

const STAMP = '2026-01-31T12:00:00.123Z';

/** The physical lines that come of these chunks. */
function split(chunks: Buffer[], last = true): Buffer[] {
  const out = new LineBuffer();
  const splitter = new LineSplitter('stdout');
  for (const chunk of chunks) splitter.feed(chunk, STAMP, out);
  if (last) splitter.cut(STAMP, out, true);
  const lines: Buffer[] = [];
  for (let from = 0; from < out.length;) {
    const end = out.bytes.indexOf(10, from);
    lines.push(out.bytes.subarray(from, end));
    from = end + 1;
  }
  return lines;
}

const tagsOf = (lines: Buffer[]): string[] => lines.map((l) => l.toString().split(' ')[2] as string);
const textsOf = (lines: Buffer[]): string[] => lines.map((l) => parsePiece(l)?.text.toString() ?? 'no log line');

describe('splitting a stream into lines', () => {
  it('joins a line that came in two chunks, and keeps empty lines', () => {
    expect(textsOf(split([Buffer.from('a\n\nb'), Buffer.from('c\n')]))).toEqual(['a', '', 'bc']);
  });

  it('holds back the beginning of a line until it is cut', () => {
    expect(split([Buffer.from('no end')], false)).toEqual([]);
    expect(textsOf(split([Buffer.from('no end')]))).toEqual(['no end']);
  });

  it('marks a line that is cut in the middle as going on', () => {
    const out = new LineBuffer();
    const splitter = new LineSplitter('stdout');
    splitter.feed(Buffer.from('prompt> '), STAMP, out);
    splitter.cut(STAMP, out, false);
    splitter.feed(Buffer.from('answer\n'), STAMP, out);
    expect(out.bytes.subarray(0, out.length).toString()).toBe(`${STAMP} stdout P prompt> \n${STAMP} stdout F:c answer\n`);
  });

  it.each([
    [MAX_PIECE_BYTES, ['F']],
    [MAX_PIECE_BYTES + 1, ['P', 'F:c']],
    [3 * MAX_PIECE_BYTES, ['P', 'P:c', 'F:c']],
  ])('writes a line of %i bytes in pieces', (size, tags) => {
    const line = Buffer.concat([Buffer.alloc(size, 'x'), Buffer.from('\n')]);
    const inChunks = Array.from({ length: Math.ceil(line.length / 1000) }, (_, i) => line.subarray(i * 1000, (i + 1) * 1000));
    for (const lines of [split([line]), split(inChunks)]) {
      expect(tagsOf(lines)).toEqual(tags);
      expect(textsOf(lines).join('')).toHaveLength(size);
    }
  });

  it('loses, adds and changes nothing, however the text is cut into chunks (property)', () => {
    const word = fc.oneof(
      fc.string({ maxLength: 30, unit: 'grapheme' }),
      fc.constant('\n'),
      fc.nat(40_000).map((n) => 'y'.repeat(n)),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 30 }), fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1 }), (words, sizes) => {
        const whole = Buffer.from(words.join(''));
        const chunks: Buffer[] = [];
        for (let from = 0, i = 0; from < whole.length; i++) chunks.push(whole.subarray(from, (from += sizes[i % sizes.length] as number)));
        const joiner = new LogJoiner();
        const entries = split(chunks).flatMap((line) => joiner.add(line));
        const expected = whole.toString().split('\n');
        if (expected.at(-1) === '') expected.pop();
        expect(entries.map((e) => e.text)).toEqual(expected);
        expect(joiner.pending).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});
