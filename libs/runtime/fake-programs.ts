/** The few command lines that FakeRuntime knows, and what busybox would do with them as a container's first process. */
import { signalNumber } from './signals.js';

export interface FakeProgram {
  /** Milliseconds until it ends by itself; Infinity for never. */
  runsMs: number;
  exitCode: number;
  /** Exit code by signal number. A first process is not ended by a signal that it has no handler for. */
  onSignal: Record<number, number>;
  stdout: string;
  /** Prints what it reads, and ends with its input: cat. */
  echoesInput: boolean;
}

const program = (changes: Partial<FakeProgram>): FakeProgram => ({
  runsMs: 0,
  exitCode: 0,
  onSignal: {},
  stdout: '',
  echoesInput: false,
  ...changes,
});

/**
 * `sleep N`, `true`, `false`, `echo …`, `cat`, `sh -c SCRIPT` with a script that holds any of `trap "exit N" SIG`, `echo WORD`, `sleep N`,
 * `exit N`, or a loop (`while`: for ever). Everything else runs for ever.
 */
export function programOf(argv: readonly string[]): FakeProgram {
  const [name, ...args] = argv;
  if (name === 'true') return program({});
  if (name === 'false') return program({ exitCode: 1 });
  if (name === 'echo') return program({ stdout: `${args.join(' ')}\n` });
  if (name === 'cat' && args.length === 0) return program({ echoesInput: true });
  if (name === 'sleep') return program({ runsMs: seconds(args[0]) });
  if ((name === 'sh' || name === '/bin/sh') && args[0] === '-c') return script(args[1] ?? '');
  return program({ runsMs: Infinity });
}

const seconds = (text: string | undefined): number => {
  const value = Number(text) * 1000;
  // setTimeout takes 31 bits.
  return Number.isFinite(value) && value < 2 ** 31 ? value : Infinity;
};

function script(text: string): FakeProgram {
  const onSignal: Record<number, number> = {};
  for (const [, code, signal] of text.matchAll(/trap ["']exit (\d+)["'] (\w+)/g)) onSignal[signalNumber(signal as string)] = Number(code);
  const rest = text.replace(/trap (["']).*?\1 \w+/g, '');
  const sleeps = [...rest.matchAll(/\bsleep (\S+)/g)].reduce((sum, [, n]) => sum + seconds(n?.replace(/;$/, '')), 0);
  return program({
    onSignal,
    runsMs: /\bwhile\b/.test(rest) ? Infinity : sleeps,
    exitCode: Number(/\bexit (\d+)/.exec(rest)?.[1] ?? 0),
    stdout: [...rest.matchAll(/\becho (\w+)/g)].map(([, word]) => `${word}\n`).join(''),
  });
}
