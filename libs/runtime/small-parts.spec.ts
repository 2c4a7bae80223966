/** Signals, chain ids, and what runc says. */
import { createHash } from 'node:crypto';
import { WeftError } from '#base/errors.js';
import { programOf } from './fake-programs.js';
import { runtimeFailure } from './runtime-failure.js';
import { signalNumber } from './signals.js';
import { chainIds, topChainId } from './unpack.js';

test.each<[string, number]>([
  ['SIGTERM', 15],
  ['term', 15],
  ['9', 9],
  ['SIGRTMIN', 34],
  ['SIGRTMIN+3', 37],
  ['RTMAX-1', 63],
])('signal %s', (name, number) => {
  expect(signalNumber(name)).toBe(number);
});

test.each(['', '0', '65', '-1', 'SIG', 'NOPE', 'SIGRTMIN+40', 'toString', '1e1'])('signal %j is refused', (name) => {
  expect(() => signalNumber(name)).toThrow(expect.objectContaining({ code: 'BAD_VALUE' }));
});

test('chain ids', () => {
  const hash = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
  expect(chainIds(['a', 'b', 'c'])).toEqual(['a', hash('a b'), hash(`${hash('a b')} c`)]);
  expect(topChainId([])).toBe('');
});

test('of what runc says, the reason is kept', () => {
  const raw =
    'failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "x": executable file not found in $PATH: unknown';
  const error = runtimeFailure('cannot create', new WeftError('RUNTIME', { what: 'containerd', why: raw }));
  expect(error).toMatchObject({
    code: 'NO_COMMAND',
    what: 'cannot create',
    why: 'exec: "x": executable file not found in $PATH',
    hint: expect.stringContaining('command'),
  });
  const known = new WeftError('BAD_VALUE', 'x');
  expect(runtimeFailure('y', known)).toBe(known);
});

test.each([
  ['exec: "/x": stat /x: no such file or directory', 127],
  ['exec: "x": executable file not found in $PATH', 127],
  ['exec: "/etc/passwd": permission denied', 126],
  ['exec /bin/of-another-platform: exec format error', 126],
  ['exec: "/etc": is a directory', 126],
  ['error mounting "/a" to rootfs at "/b": no such file or directory', 1],
  ['error setting rlimits: permission denied', 1],
])('of what cannot run, the exit code is Docker’s: %s', (why, exit) => {
  expect(runtimeFailure('cannot run', new WeftError('RUNTIME', { what: 'containerd', why })).exit).toBe(exit);
});

test('programs of the fake', () => {
  expect(programOf(['sleep', '2'])).toMatchObject({ runsMs: 2000, exitCode: 0 });
  expect(programOf(['sleep', '9999999999']).runsMs).toBe(Infinity);
  expect(programOf(['nginx'])).toMatchObject({ runsMs: Infinity });
  expect(programOf(['sh', '-c', 'trap "exit 5" TERM; echo up; sleep 0.5; exit 2'])).toMatchObject({
    runsMs: 500,
    exitCode: 2,
    stdout: 'up\n',
    onSignal: { 15: 5 },
  });
});
