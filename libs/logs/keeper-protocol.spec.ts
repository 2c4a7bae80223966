import { WeftError } from '#base/errors.js';
import { DEFAULT_LIMITS, decodeError, decodeRequest, encodeError, requestLines } from './keeper-protocol.js';

const OPEN = { verb: 'open', container: 'web-1', stdout: '/run/o', stderr: '/run/e', file: '/var/l' };

describe('the control protocol', () => {
  it('fills in the limits', () => {
    expect(decodeRequest({ id: 1, ...OPEN })).toEqual({
      verb: 'open',
      source: { container: 'web-1', stdout: '/run/o', stderr: '/run/e', file: '/var/l', ...DEFAULT_LIMITS },
    });
  });

  it('takes a pipe for input, and a log that keeps nothing', () => {
    expect(decodeRequest({ ...OPEN, stdin: '/run/i', discard: true })).toMatchObject({ source: { stdin: '/run/i', discard: true } });
  });

  it('takes a container with a terminal, which has no stderr', () => {
    expect(decodeRequest({ ...OPEN, stderr: undefined })).toMatchObject({ source: { stdout: '/run/o' } });
  });

  it.each([
    ['no object', null],
    ['an array', []],
    ['an unknown verb', { verb: 'rm' }],
    ['an id with a newline', { ...OPEN, container: 'a\nb' }],
    ['an id that is a path', { ...OPEN, container: '../x' }],
    ['no container', { verb: 'close' }],
    ['a relative path', { ...OPEN, file: 'l' }],
    ['a path with a NUL', { ...OPEN, stdout: '/a\0b' }],
    ['one path twice', { ...OPEN, stderr: '/run/o' }],
    ['input that is output', { ...OPEN, stdin: '/run/o' }],
    ['a file that is a FIFO', { ...OPEN, stderr: undefined, file: '/run/o' }],
    ['no files at all', { ...OPEN, maxFiles: 0 }],
    ['a size that is no number', { ...OPEN, maxBytes: '10m' }],
    ['a size too small', { ...OPEN, maxBytes: 1 }],
  ])('refuses %s', (_name, value) => expect(() => decodeRequest(value)).toThrow(WeftError));

  it('carries an error across', () => {
    const error = new WeftError('CONFLICT', { what: 'a', why: 'b', hint: 'c' });
    expect(decodeError(JSON.parse(JSON.stringify(encodeError(error))))).toMatchObject({ code: 'CONFLICT', what: 'a', why: 'b', hint: 'c' });
    expect(decodeError({ code: 'toString' })).toMatchObject({ code: 'INTERNAL' });
  });

  it('cuts lines wherever the chunks end, and gives up on an endless one', () => {
    const lines: string[] = [];
    const feed = requestLines((line) => lines.push(line));
    for (const byte of Buffer.from('{"ü":1}\n\n{}\nx')) feed(Buffer.from([byte]));
    expect(lines).toEqual(['{"ü":1}', '{}']);
    expect(() => feed(Buffer.alloc(70_000, 'x'))).toThrow(WeftError);
  });
});
