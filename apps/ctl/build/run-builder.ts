/** Finds the builder of this machine and runs it. What it prints goes to standard error; standard output is for data. */
import { spawn } from 'node:child_process';
import { WeftError } from '#base/errors.js';
import type { Shell } from '../shell.js';
import { BUILDERS, NAMES, type Builder, type BuilderStep } from './builder-steps.js';

/** A builder that does not say in this time whether it works, does not. */
const PROBE_TIMEOUT_MS = 10_000;
/** From the end of its output that goes into an error, in characters. */
const MAX_WHY_CHARS = 600;

/** How each says that it works: docker needs the plugin, and a builder that can be reached. */
const PROBES: Readonly<Record<Builder, readonly string[]>> = {
  docker: ['docker', 'buildx', 'inspect'],
  podman: ['podman', 'version'],
  buildah: ['buildah', 'version'],
};

interface Ended {
  /** undefined: it was not there, or was ended by a signal. */
  code: number | undefined;
  /** The last of what it printed. */
  tail: string;
}

type RunShell = Pick<Shell, 'env' | 'cwd' | 'stderr' | 'onSignal'>;

/** The wanted one, or the first that works. @throws BAD_VALUE when there is none, with what each said */
export async function findBuilder(shell: RunShell, wanted: Builder | undefined): Promise<Builder> {
  const failures: string[] = [];
  for (const builder of wanted ? [wanted] : BUILDERS) {
    const { code, tail } = await start(shell, { argv: [...PROBES[builder]] }, { shown: false, timeoutMs: PROBE_TIMEOUT_MS });
    if (code === 0) return builder;
    failures.push(`${NAMES[builder]}: ${tail.trim().split('\n').at(-1) || 'it does not answer'}`);
  }
  throw new WeftError('BAD_VALUE', {
    what: wanted ? `${NAMES[wanted]} cannot build images on this machine` : 'there is no builder of images on this machine',
    why: failures.join('\n'),
    hint: 'Install docker with buildx, podman or buildah; or build elsewhere, and bring the image with `ctl image push`.',
  });
}

/** @throws COMMAND_FAILED with the end of what it printed */
export async function runSteps(shell: RunShell, steps: readonly BuilderStep[], quiet: boolean): Promise<void> {
  for (const step of steps) {
    const { code, tail } = await start(shell, step, { shown: !quiet && !step.mayFail });
    if (code === 0 || step.mayFail) continue;
    throw new WeftError('COMMAND_FAILED', {
      what: `${step.argv.slice(0, 2).join(' ')} ${code === undefined ? 'was ended' : `ended with ${code}`}`,
      why: tail.trim(),
      hint: quiet ? undefined : 'What it printed is above.',
    });
  }
}

function start(shell: RunShell, step: BuilderStep, how: { shown: boolean; timeoutMs?: number }): Promise<Ended> {
  const [program = '', ...args] = step.argv;
  return new Promise((resolve) => {
    // Attestations that nobody asked for would make an index of every image. BuildKit's own switch.
    const env = { BUILDX_NO_DEFAULT_ATTESTATIONS: '1', ...shell.env };
    const child = spawn(program, args, { cwd: shell.cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let tail = '';
    const hear = (chunk: Buffer): void => {
      tail = (tail + String(chunk)).slice(-MAX_WHY_CHARS);
      if (how.shown) shell.stderr.write(chunk);
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    const timer = how.timeoutMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), how.timeoutMs);
    const unhear = shell.onSignal(['SIGINT', 'SIGTERM'], (signal) => void child.kill(signal));
    child.once('error', (error) => (tail += error.message));
    child.once('close', (code) => {
      clearTimeout(timer);
      unhear();
      resolve({ code: code ?? undefined, tail });
    });
  });
}
