import { parsePiece, pieceHeader, remarkLine, rotatedName } from './log-file.js';

const STAMP = '2026-01-31T12:00:00.123Z';
const line = (text: string): Buffer => Buffer.from(text);

describe('one line of a log file', () => {
  it.each([
    ['a whole line', 'stdout', false, false, 'F'],
    ['the first piece of a long line', 'stderr', true, false, 'P'],
    ['a middle piece', 'stderr', true, true, 'P:c'],
    ['the last piece', 'stdout', false, true, 'F:c'],
  ] as const)('%s reads back as it was written', (_name, stream, partial, continued, tags) => {
    const text = `${pieceHeader(STAMP, stream, partial, continued)}two  spaces and ünï`;
    expect(text.startsWith(`${STAMP} ${stream} ${tags} `)).toBe(true);
    const piece = parsePiece(line(text));
    expect({ ...piece, text: piece?.text.toString() }).toEqual({
      at: Date.parse(STAMP),
      stream,
      partial,
      continued,
      text: 'two  spaces and ünï',
    });
  });

  it('reads an empty text, other tags, and the nanoseconds of other writers', () => {
    expect(parsePiece(line(`${STAMP} stdout F `))?.text).toHaveLength(0);
    expect(parsePiece(line('2026-01-31T12:00:00.123456789Z stdout F:x hi'))).toMatchObject({
      at: Date.parse(STAMP),
      partial: false,
      continued: false,
    });
  });

  it.each([
    '',
    'x',
    '2026-01-31T12:0',
    `${STAMP} stdout`,
    `${STAMP} stdout F`,
    `${STAMP} stdin F a`,
    `${STAMP} stdout X a`,
    'yesterday stdout F a',
  ])('takes %j for no log line', (text) => expect(parsePiece(line(text))).toBeUndefined());

  it('keeps a remark on one line', () => {
    expect(remarkLine(STAMP, 'a\nb').toString()).toBe(`${STAMP} weft F --- a b ---\n`);
  });

  it('names rotated files', () => {
    expect([0, 1, 2].map((i) => rotatedName('/l/a.log', i))).toEqual(['/l/a.log', '/l/a.log.1', '/l/a.log.2']);
  });
});
